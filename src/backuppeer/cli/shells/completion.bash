# Completion of backup-peer for bash; written by `backup-peer completion bash`.
_backup_peer() {
    local kind word about current=${COMP_WORDS[COMP_CWORD]}
    local -a words=("${COMP_WORDS[@]:1}")
    words=("${words[@]//\\/}")  # as they are typed, a blank has one before it
    COMPREPLY=()
    {
        read -r kind
        while IFS=$'\t' read -r word about; do
            COMPREPLY+=("$(printf '%q' "$word")")
        done
    } < <(command "$1" completion --at "$COMP_CWORD" -- "${words[@]}" 2>/dev/null)
    case $kind in
        files) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
        folders) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$current") ;;
    esac
}
complete -F _backup_peer backup-peer
