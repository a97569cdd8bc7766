#compdef backup-peer
# Completion of backup-peer for zsh; written by `backup-peer completion zsh`.
_backup_peer() {
    local line kind word
    local -a lines shown
    lines=("${(@f)$(command "${words[1]}" completion --at $((CURRENT - 1)) -- "${(@)words[2,-1]}" 2>/dev/null)}")
    kind=${lines[1]}
    for line in "${(@)lines[2,-1]}"; do
        word=${line%%$'\t'*}
        word=${word//\\/\\\\}
        shown+=("${word//:/\\:}:${line#*$'\t'}")
    done
    (( $#shown )) && _describe -V 'backup-peer' shown
    case $kind in
        files) _files ;;
        folders) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_backup-peer" ]; then
    _backup_peer "$@"
else
    compdef _backup_peer backup-peer
fi
