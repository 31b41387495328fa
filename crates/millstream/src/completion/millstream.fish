# Completion for fish, made by `millstream completion fish`.
function __millstream_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (@PROGRAM@ complete fish -- $words 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
for command in @COMMANDS@
    complete -c $command -f -a '(__millstream_complete)'
end
