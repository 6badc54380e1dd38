"""The sftp subsystem: the image's own sftp-server, byte for byte."""

# Where distributions keep it; exec so that no shell stands between.
SFTP_SERVER = b"""\
for server in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec; do
  [ -x "$server/sftp-server" ] && exec "$server/sftp-server"
done
echo 'kgpud: this image has no sftp-server; use scp -O, or install openssh-sftp-server' >&2
exit 127"""
