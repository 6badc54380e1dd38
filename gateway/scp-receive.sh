# The pod's side of `scp -t`; scp_receive.py has the other one. Runs as
#   sh -c THIS xFLAGS TARGET
# It says where it stands, then takes operations from stdin: a line of words, a line with a path
# below the target, and as many bytes as the words say. Lengths are counted, never ended by
# end-of-file, which the v4 exec protocol can't send.
unset KGPU_SCP
export LC_ALL=C
set -f
nl='
'
pass() {
  if command -v scp >/dev/null; then echo pass; else echo "none $1"; fi
  exit 0
}
case $0 in *g*) ;; *) case ${1-} in -*) pass 'its target could be an option' ;; esac ;; esac
case ${1-} in *"$nl"*) pass 'its target has a newline in its name' ;; esac
[ $# = 1 ] || { echo 'error ambiguous target'; exit 1; }
dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || pass 'the image has no dd that knows iflag=fullblock'
t=$1 kind=new tar=-
if [ -d "$t" ]; then kind=folder; elif [ -e "$t" ]; then kind=other; fi
case $0 in *r*) case $(tar --version 2>/dev/null) in *GNU*) tar=gnu ;; esac ;; esac
printf 'kgpud-scp %s %s %s %s\n' "$kind" "$(umask)" "$tar" "$t"
# What a tool said is ": " and the reason at the end of its first line. The first reason counts.
failed() {
  said=${said%%"$nl"*} said=${said##*: }
  why=${why:-$1${said:-failed}}
}
# copy SIZE COUNT: so many blocks from stdin to descriptor 5. After a failure what is left of them
# is dropped, so that the next operation is found where it begins.
copy() {
  [ "$1" -gt 0 ] && [ "$2" -gt 0 ] || return 0
  left=$2
  if [ -z "$why" ]; then
    if said=$(dd bs="$1" count="$2" iflag=fullblock 2>&1 >&5); then
      [ "${said%%+*}" = "$2" ] || cut=1
      return 0
    fi
    left=${said%%+*} left=${left##*[!0-9]} left=$(($2 - ${left:-0}))
    failed
  fi
  dd bs="$1" count="$left" iflag=fullblock >/dev/null 2>&1
}
create() {
  said=$(dd of="$p" conv=notrunc count=0 </dev/null 2>&1) || failed
}
# file UMASK MODE-IF-NEW MODE-IF-OLD MTIME ATIME BLOCKS REST
# As with scp, what an old file had more is cut off at the end, if all went well.
file() {
  opened='' mode=$2 old='' cut=''
  [ ! -e "$p" ] || mode=$3
  [ ! -f "$p" ] || [ ! -s "$p" ] || [ ! -r "$p" ] || old=1
  umask "$1"
  if [ -n "$old" ]; then
    { opened=1; copy 65536 "$6"; copy "$7" 1; } 2>/dev/null 5<>"$p"
  else
    { opened=1; copy 65536 "$6"; copy "$7" 1; } 2>/dev/null 5>"$p"
  fi
  if [ -n "$opened" ]; then
    [ -z "$old" ] || [ -n "$why$cut" ] ||
      said=$(dd of="$p" bs=1 seek="$((65536 * $6 + $7))" count=0 </dev/null 2>&1) ||
      failed 'truncate: '
    finish "$mode" "$4" "$5"
  else
    create
    why=${why:-failed to open}
    copy 65536 "$6"
    copy "$7" 1
  fi
}
# finish MODE MTIME ATIME: - leaves them as they are.
finish() {
  [ "$1" = - ] || said=$(chmod -- "$1" "$p" 2>&1) || failed 'set mode: '
  [ "$2" = - ] || [ -n "$why" ] ||
    said=$(touch -c -m -d "@$2" -- "$p" 2>&1 && touch -c -a -d "@$3" -- "$p" 2>&1) ||
    failed 'set times: '
}
folder() {
  if [ -d "$p" ]; then
    answer=+old
  elif [ -e "$p" ]; then
    why='Not a directory'
  else
    umask "$1"
    if said=$(mkdir -- "$p" 2>&1); then answer=+new; else failed; fi
  fi
}
# What is in a folder, as far as its first MiB of names says it: type, mode, path. A link to a
# folder has type l.
list() {
  case $p in -*) p=./$p ;; esac
  [ "$(find "$p" -maxdepth 0 -printf x 2>/dev/null)" = x ] || printf '?\0'
  find -L "$p" -mindepth 1 \( -type d -xtype l -printf 'l%m %P\0' -o -printf '%y%m %P\0' \) \
    2>/dev/null |
    dd bs=65536 count=16 iflag=fullblock 2>/dev/null
  printf '\0'
}
# Chunks of a tar archive, each a line with its blocks and rest, until a dot. In between come files
# that are to be written here, since tar would empty what is there of them.
chunks() {
  trap '' PIPE
  broken=''
  while IFS= read -r words && [ "$words" != . ]; do
    set -- $words
    case $1 in
      file)
        IFS= read -r p && place
        shift
        why=''
        file "$@"
        complain >&6
        ;;
      *)
        why=$broken
        copy 65536 "$1"
        copy "$2" 1
        broken=$why
        ;;
    esac
  done
}
unpack() {
  chunks 5>&1 >&6 | tar -x -f - -C "$p" -p -o -h --overwrite --keep-directory-symlink \
    --quoting-style=literal "$@" 2>&1
  echo "=$?"
} 6>&1
place() {
  if [ -z "$p" ]; then p=$t; elif [ "$t" = / ]; then p=/$p; else p=$t/$p; fi
}
complain() { [ -z "$why" ] || printf '!%s: %s\n' "$p" "$why"; }
while IFS= read -r words && IFS= read -r p; do
  place
  set -- $words
  op=$1 why='' answer=''
  shift
  case $op in
    file) file "$@" ;;
    create) umask "$1"; [ -p "$p" ] || create; answer== ;;
    folder) answer==; folder "$1" ;;
    finish) finish "$@" ;;
    list) list ;;
    unpack) unpack "$@" ;;
    sync) answer== ;;
    quit) exit 0 ;;
  esac
  complain
  [ -z "$answer" ] || echo "$answer"
done
