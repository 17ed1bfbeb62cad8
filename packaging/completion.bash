# Completion of the tools' options in bash: asks the tool itself for them. Installed once under the
# name of each tool.
_cllm_options() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    [[ $word == -* ]] || return 0 # bash completes names of files by itself
    mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2> /dev/null |
        sed -n 's/^ \{2,6\}\(-[^ ].*\)/\1/p' | sed 's/  .*//' | grep -oE -- '--?[a-z][a-z0-9-]*' | sort -u)" -- "$word")
}
complete -o default -F _cllm_options train_model train_model_mpi cllm_inference cllm_inference_fixed \
    cllm_tokenize cllm_vocab_build cllm_info
