# What an image without sftp-server has in its place: takes a line of shell from stdin, runs it, and
# says on stdout how that ended: its output, then `$end CODE ERROR$end`. `$end` and `$mark` are set
# by who sends this text; both are random, so no output holds them.
#
# An open file is a sleeping process that holds it as descriptor 3, and is reached as
# /proc/PID/fd/3: renamed or removed, it is the same file still.
exec 5<&0 6>&1 </dev/null >/dev/null 2>&1
LC_ALL=C
export LC_ALL
mask=$(umask)
fields='%f %s %u %g %X %Y %h %U %G'
nl='
'

fail() { error=$1; return 1; }
try() { error=$("$@" 2>&1 >&6); }  # run a program: its output goes out, its complaint is kept
there() { [ -e "$1" ] || { error=$(stat -L "$1" 2>&1); return 1; }; }
taken() { [ -e "$1" ] || [ -L "$1" ]; }
folder() { [ -d "$1" ] && ! [ -L "$1" ]; }
exists() { taken "$1" || { error=$(stat "$1" 2>&1); return 1; }; }

hello() {
  for tool in cat chmod chown dd ln mkdir mv readlink rm rmdir sleep stat touch; do
    command -v "$tool" || { fail "no $tool"; return; }
  done
  [ "$(stat -c %f /)" ] || { fail 'no stat -c'; return; }
  [ "$(printf abc | dd bs=3 count=1 iflag=fullblock)" = abc ] || { fail 'no dd that can'; return; }
  # Busybox has it since 1.33; without, the block size must divide the offset.
  seekable=
  printf x | dd of=/dev/null bs=1 seek=1 oflag=seek_bytes && seekable=yes
  echo "$mask" >&6
}

# Names

attributes() { try stat $2 -c "$fields" "$1"; }

list() {
  try stat -L -c '' "$1/." || return
  [ -r "$1" ] || { fail 'Permission denied'; return; }
  (
    cd "$1" || exit
    set --
    for name in . .. .[!.]* ..?* *; do
      set -- "$@" "./$name"
      [ $# -lt 128 ] || { stat -c "$mark$fields %n" "$@"; set --; }
    done
    [ $# = 0 ] || stat -c "$mark$fields %n" "$@"
    exit 0  # whatever it says of a pattern without a match, or of a name that went meanwhile
  ) >&6 || fail 'Permission denied'
}

real_path() {
  # Busybox takes what a dangling link says from where we are, not from where the link is.
  if [ -L "$1" ] && ! [ -e "$1" ]; then (cd "${1%/*}/" && readlink -f "./${1##*/}") >&6
  else try readlink -f "$1"; fi || fail "${error:-No such file or directory}"
}

read_link() {
  [ -L "$1" ] || { try stat -c '' "$1" && fail 'Invalid argument'; return; }
  try readlink "$1"
}

remove() { try rm "$1"; }
remove_folder() { try rmdir "$1"; }
make_folder() { try mkdir -m "$2" "$1"; }

# Whether a plain rename may take the second name. OpenSSH's moves a file by link(2), and all else
# where stat(2) finds nothing: over a dangling link.
free() { if [ -f "$1" ] && ! [ -L "$1" ]; then ! taken "$2"; else ! [ -e "$2" ]; fi; }

rename() {
  exists "$1" || return
  [ "$3" = over ] || free "$1" "$2" || { fail 'File exists'; return; }
  # One name, or two of one file: rename(2) leaves them, and mv complains.
  [ "$1" != "$2" ] || return 0
  [ -L "$1" ] || [ -L "$2" ] || ! [ "$1" -ef "$2" ] || return 0
  case $2 in "$1"/*) ! folder "$1" || { fail 'Invalid argument'; return; } ;; esac
  ! folder "$1" || folder "$2" || ! taken "$2" || { fail 'Not a directory'; return; }
  try mv -f -T "$1" "$2" && return
  case $error in *option*) ;; *) return 1 ;; esac
  # An old busybox has no -T, and would move into a folder.
  [ -d "$2" ] && { fail 'Is a directory'; return; }
  try mv -f "$1" "$2"
}

link() {
  exists "$1" || return
  ! taken "$2" || { fail 'File exists'; return; }
  ! folder "$1" || { fail 'Operation not permitted'; return; }
  try ln "$1" "$2"
}
symlink() { if taken "$2"; then fail 'File exists'; else try ln -s -- "$1" "$2"; fi; }
space() { try stat -f -c '%s %S %b %f %a %c %d %i %l' "$1"; }

# set_attributes PATH SIZE MODE ATIME MTIME OWNER, each but the first may be -
set_attributes() {
  there "$1" || return
  failed=
  if [ "$2" != - ]; then
    if [ -f "$1" ]; then attempt dd if=/dev/null of="$1" bs=1 seek="$2" count=0
    elif [ -d "$1" ]; then failed='Is a directory'
    else failed='Invalid argument'; fi
  fi
  [ "$3" = - ] || attempt chmod "$3" "$1"
  [ "$5" = - ] || attempt touch -c -d "@$5" "$1"
  # An old busybox sets both at once.
  [ "$4" = "$5" ] || attempt touch -c -a -d "@$4" "$1"
  [ "$6" = - ] || attempt chown "$6" "$1"
  error=$failed
  [ -z "$failed" ]
}
attempt() { try "$@" || failed=${error:-Failure}; }

# Open files

hold() { sleep 2147483647 5<&- 6>&- & }

# open PATH r|w|rw must|may|new keep|cut MASK MODE: create it if need be, and hold it.
# MASK is the umask to create it with, MODE what to set then, or -.
open() {
  [ -p "$1" ] || [ -S "$1" ] && { fail 'Not a regular file'; return; }
  made=old
  if [ "$3" = must ]; then there "$1" || return
  elif [ "$3" = new ] && taken "$1"; then fail 'File exists'; return
  elif ! [ -e "$1" ]; then create "$@" || return
  fi
  [ "$4" = keep ] || { :; } >"$1" || { complain "$@"; return; }
  case $2 in
    r) { hold; } 3<"$1" ;;
    w) { hold; } 3>>"$1" ;;
    rw) { hold; } 3<>"$1" ;;
  esac || { complain "$@"; return; }
  echo "$! $made" >&6
}

create() {
  made=new
  umask "$5"
  [ "$3" = may ] || set -C
  { :; } >"$1"
  code=$?
  set +C
  umask "$mask"
  [ $code = 0 ] || { complain "$@"; return; }
  [ "$6" = - ] || try chmod "$6" "$1"
}

# The shell's own words for what went wrong differ; dd's don't.
complain() {
  case $2 in
    r) try dd if="$1" of=/dev/null count=0 ;;
    *) try dd if=/dev/null of="$1" conv=notrunc count=0 ;;
  esac
  fail "${error:-Failure}"
}

close() {
  error=
  [ "$2" = - ] || try chmod "$2" "/proc/$1/fd/3"
  kill "$1"
  wait "$1"
  [ -z "$error" ]
}

# fetch PID BLOCK COUNT, in blocks of 32 KiB
fetch() { try dd if="/proc/$1/fd/3" bs=32768 skip="$2" count="$3" iflag=fullblock; }

# store PID LENGTH OFFSET|end: LENGTH bytes follow the line
store() {
  to=/proc/$1/fd/3 flags= at=$3
  if [ "$seekable" ]; then
    [ "$at" = end ] && flags=oflag=append || flags="oflag=seek_bytes seek=$at"
    try dd of="$to" bs="$2" count=1 iflag=fullblock conv=notrunc $flags <&5 && return
  else
    [ "$at" = end ] && at=$(stat -L -c %s "$to")
    block=65536
    while [ $((at % block)) != 0 ]; do block=$((block / 2)); done
    flags="obs=$block seek=$((at / block))"
    try dd of="$to" ibs="$2" count=1 iflag=fullblock conv=notrunc $flags <&5 && return
  fi
  [ $? -lt 128 ] || exit 1  # killed: nobody knows how much it took
  # It reads all before it writes; if it didn't come to that, the bytes are still to be skipped.
  case $error in
    *'1+0 records in'*) ;;
    *) dd bs="$2" count=1 iflag=fullblock <&5 ;;
  esac
  return 1
}

flush() { try dd if=/dev/null of="/proc/$1/fd/3" conv=notrunc,fsync count=0; }

while IFS= read -r line <&5; do
  error=
  eval "$line"
  printf '%s %s %s%s\n' "$end" "$?" "$error" "$end" >&6
done
