# Every command runs under these lines. They stay alive beside it, so that its exit code reaches us
# as a trailer on its own output: the runtime's word alone can't be trusted.
#   sh -c THIS NONCE tty|pipe SIZE SETTINGS argv|command|octal|login BETWEEN [NAME=VALUE ...] --
#     [WORD ...]
# A handler, not an ignore: children get the default back, and `kill 0` does not take us along.
trap : HUP INT QUIT TERM PIPE USR1 USR2
exec 3<&0 4>&2
__tty=$1 __kind=$4 __between=$5
# Before the command can ask. A setting that this stty doesn't know must not cost the size.
[ "$__tty" = pipe ] || { stty $2 $3 || stty $2; SSH_TTY=$(tty) && export SSH_TTY; } >/dev/null 2>&1
shift 5
while [ "$1" != -- ]; do export "$1"; shift; done
shift
# Words may come with BETWEEN between any two characters: `pgrep -f NAME` must not find its own name
# here, as it doesn't under sshd, where it is all that is left of its command line.
together() { IFS=; __word="$*"; }
set -f
for __word; do
  shift
  IFS=$__between
  together $__word
  set -- "$@" "$__word"
done
set +f
unset IFS
cd /workspace 2>/dev/null || cd 2>/dev/null
for __shell in "${SHELL:-}" /bin/bash /usr/bin/bash /usr/local/bin/bash /bin/sh; do
  [ -x "$__shell" ] && break
done
[ -x "$__shell" ] || __shell=$(command -v sh) # where an image keeps it elsewhere
if [ "$__kind" != argv ]; then
  # What sshd sets (session.c, do_setup_env). The count of shells begins with the user's.
  unset KGPU_API_TOKEN SHLVL OLDPWD
  : "${USER:=$(id -un 2>/dev/null)}" "${LOGNAME:=$USER}"
  export SHELL="$__shell" USER LOGNAME
fi
if [ "$__kind" = octal ]; then
  __text=
  # The dot keeps the newlines that $() would strip.
  for __word; do __text=$__text$(printf '%b.' "$__word"); __text=${__text%.}; done
  set -- "$__text"
fi
# Our own "Killed" or "Terminated" is nobody's output. (A subshell, since dash redirects itself.)
case $__kind in
  argv) (exec sh -c 'exec "$@"' sh "$@" 2>&4 3<&- 4>&-) ;;
  login) (exec "$__shell" -l 2>&4 3<&- 4>&-) ;;
  *) (exec "$__shell" -c "$1" 2>&4 3<&- 4>&-) ;;
esac 2>/dev/null
__code=$?
[ "$__tty" = pipe ] && printf '\036%s %03d' "$0" "$__code" >&2
printf '\036%s %03d' "$0" "$__code"
if [ "$__tty" = pipe ]; then
  # Unread stdin would keep the runtime from ever sending the status. Not before the trailers: a
  # child's end interrupts busybox's write to a pipe that is full, and it doesn't try again.
  cat <&3 >/dev/null 2>&1 4>&- &
fi
exit "$__code"
