# The pod's side of `scp -f`; scp_read.py has the other one. Runs as
#   sh -c THIS xFLAGS SOURCE...
# It says that it is here, then writes records that end with NUL, tar archives and files:
#   !TEXT                             an error
#   f, then an archive                files, each a source
#   tPATH, then an archive            a folder
#   FMODE SIZE MTIME ATIME NAME       a file without tar (mode in hex, as stat has it), SIZE bytes,
#     and then `.` or !TEXT
#   DMODE SIZE MTIME ATIME NAME ... E a folder without tar
unset KGPU_SCP
export LC_ALL=C
set -f
nl='
'
pass() {
  if command -v scp >/dev/null; then echo pass; else echo "none $1"; fi
  exit 0
}
case $0 in *g*) ;; *) case ${1-} in -*) pass 'a source could be an option' ;; esac ;; esac
tar=''
case $(tar --version 2>/dev/null) in *GNU*) tar=gnu ;; esac
if [ -z "$tar" ]; then
  stat -L -c '%f %s %Y %X' / >/dev/null 2>&1 || pass 'the image has neither GNU tar nor stat -c'
  dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || pass 'the image has no dd that knows iflag=fullblock'
fi
echo kgpud-scp
code=0
format=gnu
case $0 in *p*) format=posix ;; esac # it has the time of the last access, too
say() { printf '!%s: %s\0' "$1" "$2"; }
# Why a file can't be opened: dd says it as open(2) does.
unopened() {
  said=$(dd if="$1" count=0 2>&1) && said='failed to open'
  said=${said%%"$nl"*}
  say "$1" "${said##*: }"
}
archive() {
  tar -c -f - -b 128 -P -h --hard-dereference --format="$format" --quoting-style=literal -- "$@"
  [ $? -le 1 ] || code=1 # 1: a file changed while it was read, which is nothing to scp
}
# dump SIZE COUNT: so many blocks of stdin to descriptor 3, with zeros in place of what is missing.
dump() {
  [ "$1" -gt 0 ] && [ "$2" -gt 0 ] || return 0
  said=$(dd bs="$1" count="$2" iflag=fullblock conv=sync 2>&1 >&3)
  said=${said%% records in*} said=${said##*"$nl"}
  [ "$said" != "$2+0" ] || return 0
  short=1
  case $said in [0-9]*+[01]) ;; *) exit 1 ;; esac # nobody knows how much there was
  dd if=/dev/zero bs="$1" count=$(($2 - ($said))) 2>/dev/null >&3
}
dumps() {
  dump 65536 $((size / 65536))
  dump $((size % 65536)) 1
}
# Few processes a file: there may be thousands.
file() {
  status=$(stat -L -c '%f %s %Y %X' -- "$1" 2>/dev/null) || { unopened "$1"; return; }
  printf 'F%s %s\0' "$status" "${1##*/}"
  size=${status#* } size=${size%% *} short='' opened=''
  { opened=1; dumps 3>&1; } 2>/dev/null <"$1"
  [ -n "$opened" ] || dumps 3>&1 </dev/null
  if [ -z "$short" ]; then printf '.\0'; else say "$1" 'file shrank while it was read'; fi
}
folder() {
  status=$(stat -L -c '%f %s %Y %X' -- "$1" 2>/dev/null) || { unopened "$1"; return; }
  printf 'D%s %s\0' "$status" "${1##*/}"
  set +f
  for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$e" ] || [ -L "$e" ]; then give "$e"; fi
  done
  printf 'E\0'
}
# One source, or what lies in one. With tar a file is only counted in: many make one archive.
give() {
  if [ -f "$1" ] && [ -r "$1" ]; then
    if [ -n "$tar" ]; then batched=1; else file "$1"; fi
  elif [ -d "$1" ] && [ -r "$1" ]; then
    case $0 in
      *r*) if [ -n "$tar" ]; then printf 't%s\0' "$1"; archive "$1"; else folder "$1"; fi ;;
      *) say "$1" 'not a regular file' ;;
    esac
  elif [ -e "$1" ] && [ -r "$1" ]; then
    say "$1" 'not a regular file'
  else
    unopened "$1"
  fi
}
n=$#
while [ "$n" -gt 0 ]; do
  w=$1 n=$((n - 1)) batched=''
  shift
  while case $w in ?*/) true ;; *) false ;; esac; do w=${w%/}; done
  give "$w"
  [ -z "$batched" ] || set -- "$@" "$w"
done
[ $# = 0 ] || { printf 'f\0'; archive "$@"; }
exit "$code"
