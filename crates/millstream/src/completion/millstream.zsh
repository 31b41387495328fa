#compdef @COMMANDS@
# Completion for zsh, made by `millstream completion zsh`.
_millstream() {
    local line
    local -a found
    while IFS= read -r line; do
        local word=${line%%$'\t'*} help=${line#*$'\t'}
        found+=("${word//:/\\:}${help:+:$help}")
    done < <(@PROGRAM@ complete zsh -- "${(@)words[1,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe -V 'millstream' found
    else
        _files
    fi
}
if [[ $funcstack[1] == _millstream ]]; then
    _millstream "$@"
else
    compdef _millstream @COMMANDS@
fi
