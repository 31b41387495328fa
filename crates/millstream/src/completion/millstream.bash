# Completion for bash, made by `millstream completion bash`.
_millstream() {
    local word help
    COMPREPLY=()
    while IFS=$'\t' read -r word help; do
        [[ -n $word ]] && COMPREPLY+=("$word")
    done < <(@PROGRAM@ complete bash -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
# What there are no words for is the name of a file.
complete -o default -F _millstream @COMMANDS@
