#!/bin/sh
# Prints a kubeconfig of kgpud's service account, from one that may read its token: the
# administrator's. For a namespace other than kgpu, say it: kubeconfig.sh NAMESPACE
set -eu
namespace=${1:-kgpu}
umask 077
made=$(mktemp)
trap 'rm -f "$made"' EXIT
kubectl config view --raw --flatten --minify >"$made"
# Kubernetes fills the Secret in a moment after it was made.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  token=$(kubectl -n "$namespace" get secret kgpud-token -o 'go-template={{with .data.token}}{{. | base64decode}}{{end}}')
  [ -z "$token" ] || break
  sleep 1
done
[ -n "$token" ] || { echo "kubeconfig.sh: the Secret kgpud-token has no token" >&2; exit 1; }
{
  kubectl --kubeconfig "$made" config unset users
  kubectl --kubeconfig "$made" config set-credentials kgpud --token="$token"
  kubectl --kubeconfig "$made" config set-context --current --user=kgpud --namespace="$namespace"
} >/dev/null
cat "$made"
