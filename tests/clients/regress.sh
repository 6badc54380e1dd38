#!/bin/sh
# Run one of OpenSSH's own regression scripts, unchanged, against a server that is not ours to
# configure: what its test-exec.sh does, less all that starts and configures an sshd.
#
#     HOST= PORT= KEY= KNOWN_HOSTS= DATA_BYTES= regress.sh OBJ SCRIPT
#
# OBJ is a folder that the server's sessions see under the same path. Both sides write there.
OBJ=$1 SCRIPT=$2 SRC=$(dirname "$2") BUILDDIR=$(dirname "$2")
TEST_SHELL=sh USER=kgpu LOGNAME=kgpu EGREP='grep -E'
RESULT=0 STEP='' SUDO='' SSH_PID='' SSH_REGRESS_TMP='' SCPTESTMODE=''
TEST_SSH_LOGFILE=$OBJ/ssh.log TEST_SSHD_LOGFILE=$OBJ/sshd.log TEST_REGRESS_LOGFILE=$OBJ/regress.log
export TEST_SHELL USER LOGNAME
umask 022

egrep() { grep -E "$@"; }
fgrep() { grep -F "$@"; }
md5() { md5sum; }
config_defined() { return 1; }
have_prog() { command -v "$1" >/dev/null; }
trace() { :; }
verbose() { STEP=$*; echo "$STEP"; }
fail() { RESULT=1; echo "FAIL [$STEP] $*"; }
fatal() { fail "$@"; cleanup; exit 1; }
skip() { echo "SKIPPED: $*"; cleanup; exit 77; }
make_tmpdir() { SSH_REGRESS_TMP=$(mktemp -d /tmp/openssh-XXXXXX) || fatal "no temporary folder"; }
start_sshd() { :; }
stop_sshd() { :; }
maybe_add_scp_path_to_sshd() { :; }
increase_datafile_size() { :; }
cleanup() {
  [ -z "$SSH_PID" ] || kill "$SSH_PID"
  [ -z "$SSH_REGRESS_TMP" ] || rm -rf "$SSH_REGRESS_TMP"
}

DATANAME=data DATA=$OBJ/data COPY=$OBJ/copy NC=$SRC/netcat
head -c "$DATA_BYTES" /usr/bin/ssh-agent >"$DATA"

cat >"$OBJ/ssh_config" <<EOF
Host *
	Hostname		$HOST
	HostKeyAlias		$HOST
	Port			$PORT
	User			$USER
	IdentityFile		$KEY
	IdentitiesOnly		yes
	GlobalKnownHostsFile	$OBJ/known_hosts
	UserKnownHostsFile	$OBJ/known_hosts
	BatchMode		yes
	StrictHostKeyChecking	yes
EOF
sed "s/^[^ ]* /$HOST /" "$KNOWN_HOSTS" >"$OBJ/known_hosts"
(cat "$OBJ/ssh_config"; echo "ProxyCommand $NC $HOST $PORT") >"$OBJ/ssh_proxy"
cp "$OBJ/ssh_config" "$OBJ/ssh_config_config"
cp "$OBJ/ssh_config" "$OBJ/half_config"  # not one of those that scripts edit
: >"$OBJ/sshd_proxy" >"$OBJ/sshd_config" >"$TEST_SSH_LOGFILE"

# Programs that the scripts call where theirs would run a server's half on this machine.
SSH=$OBJ/ssh REAL_SSH=ssh SFTP=sftp SCP=$OBJ/scp SFTPSERVER=$OBJ/sftp-server
cat >"$SSH" <<EOF
#!/bin/sh
exec ssh -E$TEST_SSH_LOGFILE "\$@"
EOF
cat >"$SFTPSERVER" <<EOF
#!/bin/sh
exec ssh -F $OBJ/half_config -s somehost sftp
EOF
cat >"$SCP" <<EOF
#!/bin/sh
for word; do
  case \$word in
    -t | -f) exec ssh -F $OBJ/half_config somehost "scp \$*" ;;
  esac
done
exec scp "\$@"
EOF
chmod 755 "$SSH" "$SFTPSERVER" "$SCP"
export SSH REAL_SSH SFTP SCP SFTPSERVER

. "$SCRIPT"

cleanup
exit $RESULT
