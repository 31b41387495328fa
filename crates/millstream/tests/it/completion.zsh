# zsh -f completion.zsh PROGRAM LINE...: prints each line as it is once the tab key was pressed behind it in an
# interactive zsh on a terminal, which zpty makes.
zmodload zsh/zpty || exit 1
program=$1; shift
# Its own output is cut at the terminal's width, and full of escapes: a widget prints the line between marks.
start="autoload -Uz compinit && compinit -D -u; source <(${(q)program} completion zsh)"
start+="; show() { print -r -- \"<<\$BUFFER>>\" }; zle -N show; bindkey '^X' show; PS1='\$ '; print RE''ADY"
zpty -b shell "TERM=dumb zsh -f -i" || exit 1
expect() {
    local seen= chunk
    repeat 6000; do
        if zpty -r -t shell chunk; then
            seen+=$chunk
            [[ $seen == *$1* ]] && { REPLY=$seen; return 0 }
        else
            sleep 0.01
        fi
    done
    print -ru2 -- "waited in vain for $1 in: $seen"
    exit 1
}
zpty -w shell "$start"
expect READY
for line; do
    zpty -w -n shell "$line"$'\t\x18'
    expect '>>'
    print -r -- "${${REPLY##*<<}%%>>*}"
    zpty -w -n shell $'\x15'
done
zpty -d shell
