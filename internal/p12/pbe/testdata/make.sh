#!/bin/sh
# Makes the files of this directory: make.sh DIRECTORY. The key is made here,
# for these tests, and protects nothing.
set -eu
cd "$1"
P=test-only

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out key.pem
openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out plain.p8

p8() { # name options...
	name=$1
	shift
	openssl pkcs8 -topk8 -in key.pem -outform DER -passout pass:$P -out "$name.p8" "$@"
}
p8 aes128 -v2 aes-128-cbc
p8 aes192 -v2 aes-192-cbc
p8 aes256 -v2 aes-256-cbc
p8 des3 -v2 des3
p8 hmac-sha1 -v2 aes-256-cbc -v2prf hmacWithSHA1
p8 hmac-sha224 -v2 aes-256-cbc -v2prf hmacWithSHA224
p8 hmac-sha384 -v2 aes-256-cbc -v2prf hmacWithSHA384
p8 hmac-sha512 -v2 aes-256-cbc -v2prf hmacWithSHA512
p8 iterations -v2 aes-256-cbc -iter 100000
p8 scrypt -scrypt
p8 scrypt-costly -scrypt -scrypt_N 1024 -scrypt_r 16 -scrypt_p 4
p8 pbe-3des -v1 PBE-SHA1-3DES
p8 pbe-rc2-40 -v1 PBE-SHA1-RC2-40 -provider legacy -provider default
p8 pbe-quick -v1 PBE-SHA1-RC2-40 -iter 1 -provider legacy -provider default
p8 pbe-rc2-128 -v1 PBE-SHA1-RC2-128 -provider legacy -provider default
p8 pbe-rc4 -v1 PBE-SHA1-RC4-128 -provider legacy -provider default
p8 pbe-2des -v1 PBE-SHA1-2DES
p8 pbes1-md5-des -v1 PBE-MD5-DES -provider legacy -provider default
p8 pbes1-sha1-des -v1 PBE-SHA1-DES -provider legacy -provider default
p8 camellia -v2 camellia-256-cbc
p8 aria -v2 aria-256-cbc
P=''
p8 empty -v2 aes-256-cbc
p8 empty-pbe -v1 PBE-SHA1-3DES
P='pässwörd€ 🔑'
openssl pkcs8 -topk8 -in key.pem -outform DER -passout "pass:$P" -out utf8.p8 -v2 aes-256-cbc
openssl pkcs8 -topk8 -in key.pem -outform DER -passout "pass:$P" -out utf8-pbe.p8 -v1 PBE-SHA1-3DES
rm -f key.pem
chmod 644 ./*.p8
