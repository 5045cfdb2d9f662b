#!/bin/sh
# Makes what the containers know each other by, once: an authority, one server certificate, the service credential.
set -eu
cd "${1:-/secrets}"
umask 077
if [ -e complete ]; then
    exit 0
fi

days=3650
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
    -subj "/CN=Tocsin authority" -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem

names=DNS:localhost
for role in registry scorer-1 scorer-2 ensemble-1 ensemble-2 ingest recalibrator trainer pager review console; do
    names="$names,DNS:$role"
done
printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=%s,IP:127.0.0.1\n' "$names" > extensions
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=tocsin" -keyout server.key -out request
openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days $days -extfile extensions -out server.pem
rm request extensions ca.srl

openssl rand -hex 32 > service.credential
# The user that the containers run as; the authority's key stays root's.
chown 10001:10001 . server.key service.credential
chmod 644 ca.pem server.pem
touch complete
