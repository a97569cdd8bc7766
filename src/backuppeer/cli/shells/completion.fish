# Completion of backup-peer for fish; written by `backup-peer completion fish`.
function __backup_peer_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (command $typed[1] completion --at (count $typed) -- $typed[2..-1] "$current" 2>/dev/null)
    test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case folders
            __fish_complete_directories "$current"
    end
end
complete -c backup-peer -f -a '(__backup_peer_complete)'
