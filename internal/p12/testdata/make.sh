#!/bin/sh
# Makes the files of this directory: make.sh DIRECTORY PROGRAM...
# where PROGRAM is openssl, keytool, certtool or nss. openssl comes first, since it makes
# the keys. Every key is made here, for these tests, and protects nothing.
set -eu
cd "$1"
shift

P=test-only

openssl_() {
	# Root, intermediate and two leaves, all ECDSA P-256.
	printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' >ca.ext
	printf 'subjectAltName=DNS:mail.p12.example\n' >leaf.ext
	sign() { # name subject issuer extensions
		openssl ecparam -name prime256v1 -genkey -noout -out "$1.sec1"
		openssl pkcs8 -topk8 -nocrypt -in "$1.sec1" -out "$1.key"
		openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
		if [ "$1" = "$3" ]; then
			openssl x509 -req -in "$1.csr" -signkey "$1.key" -days 36500 -extfile "$4" -out "$1.crt"
		else
			openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -set_serial "$5" -days 36500 -extfile "$4" -out "$1.crt"
		fi
	}
	sign root 'p12 test root' root ca.ext
	sign inter 'p12 test intermediate' root ca.ext 2
	sign leaf mail.p12.example inter leaf.ext 3
	sign other other.p12.example inter leaf.ext 4
	cat inter.crt root.crt >chain.pem

	p12() { # name passphrase options...
		name=$1 pass=$2
		shift 2
		openssl pkcs12 -export -inkey leaf.key -in leaf.crt -certfile chain.pem -passout "pass:$pass" -out "openssl-$name.p12" "$@"
	}
	p12 default $P
	p12 legacy $P -legacy
	p12 descert $P -descert
	p12 rc2-128 $P -legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-128
	p12 sha224 $P -certpbe AES-192-CBC -keypbe AES-192-CBC -macalg sha224
	p12 sha384 $P -certpbe DES-EDE3-CBC -keypbe DES-EDE3-CBC -macalg sha384
	p12 sha512 $P -certpbe AES-128-CBC -keypbe AES-256-CBC -macalg sha512
	p12 certpbe-none $P -certpbe NONE
	p12 keypbe-none $P -keypbe NONE
	p12 both-none $P -certpbe NONE -keypbe NONE
	p12 nomac $P -nomac
	p12 nomac-3des $P -nomac -descert
	p12 nomaciter $P -nomaciter
	p12 names $P -name 'Zürich €' -caname first -caname second
	p12 microsoft $P -CSP 'Microsoft Enhanced Cryptographic Provider v1.0' -LMK -name microsoft
	p12 empty ''
	p12 empty-legacy '' -legacy
	p12 utf8 'pässwörd€'
	p12 utf8-legacy 'pässwörd€' -legacy
	p12 astral 'key 🔑'
	p12 astral-legacy 'key 🔑' -legacy
	p12 rc4 $P -legacy -certpbe PBE-SHA1-RC4-128
	p12 2des $P -certpbe PBE-SHA1-2DES
	p12 camellia $P -certpbe CAMELLIA-128-CBC
	p12 pbes1 $P -legacy -keypbe PBE-SHA1-DES
	p12 md5 $P -macalg md5
	cat leaf.crt other.crt chain.pem >all.pem
	openssl pkcs12 -export -nokeys -in all.pem -passout pass:$P -out openssl-nokeys.p12
	openssl pkcs12 -export -inkey leaf.key -in all.pem -passout pass:$P -out openssl-several.p12
	rm -f ./*.sec1 ./*.csr ./*.ext all.pem
	chmod 644 ./*.p12
}

keytool_() {
	store() { # file options...
		out=$1
		shift
		openssl pkcs12 -export -inkey other.key -in other.crt -certfile chain.pem -name other -passout pass:$P -out other.tmp
		openssl pkcs12 -export -inkey leaf.key -in leaf.crt -certfile chain.pem -name leaf -passout pass:$P -out leaf.tmp
		for entry in leaf other; do
			keytool "$@" -importkeystore -noprompt -srckeystore $entry.tmp -srcstoretype PKCS12 -srcstorepass $P -srcalias $entry \
				-destkeystore "$out" -deststoretype PKCS12 -deststorepass $P
		done
		keytool "$@" -importcert -noprompt -alias anchor -file root.crt -keystore "$out" -storetype PKCS12 -storepass $P
		rm -f ./*.tmp
	}
	rm -f java-default.p12 java-legacy.p12 java-secret.p12 java-trust.p12 java.jks java.jceks
	store java-default.p12
	store java-legacy.p12 -J-Dkeystore.pkcs12.legacy
	keytool -genseckey -alias secret -keyalg AES -keysize 128 -keystore java-secret.p12 -storetype PKCS12 -storepass $P
	keytool -importcert -noprompt -alias anchor -file root.crt -keystore java-secret.p12 -storetype PKCS12 -storepass $P
	keytool -importcert -noprompt -alias one -file root.crt -keystore java-trust.p12 -storetype PKCS12 -storepass $P
	keytool -importcert -noprompt -alias two -file inter.crt -keystore java-trust.p12 -storetype PKCS12 -storepass $P
	keytool -importcert -noprompt -alias one -file root.crt -keystore java.jks -storetype JKS -storepass $P
	keytool -importcert -noprompt -alias one -file root.crt -keystore java.jceks -storetype JCEKS -storepass $P
}

certtool_() {
	p12() { # name options...
		name=$1
		shift
		certtool --to-p12 --load-privkey leaf.key --load-certificate leaf.crt --load-ca-certificate chain.pem \
			--p12-name gnutls --outder --outfile "gnutls-$name.p12" "$@"
	}
	p12 default --password $P
	p12 3des --password $P --pkcs-cipher 3des-pkcs12
	p12 rc2-40 --password $P --pkcs-cipher rc2-40
	p12 aes128 --password $P --pkcs-cipher aes-128
	p12 arcfour --password $P --pkcs-cipher arcfour
	p12 empty --empty-password
	p12 null --null-password
	p12 astral --password 'key 🔑' --pkcs-cipher 3des-pkcs12
}

nss_() {
	rm -rf nss
	mkdir nss
	certutil -N -d sql:nss --empty-password
	openssl pkcs12 -export -inkey leaf.key -in leaf.crt -certfile chain.pem -name leaf -passout pass:$P -out leaf.tmp
	openssl pkcs12 -export -inkey other.key -in other.crt -certfile chain.pem -name other -passout pass:$P -out other.tmp
	pk12util -i leaf.tmp -d sql:nss -W $P
	pk12util -i other.tmp -d sql:nss -W $P
	pk12util -o nss-default.p12 -n leaf -d sql:nss -W $P
	pk12util -o nss-3des.p12 -n leaf -d sql:nss -W $P \
		-c 'PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC' -C 'PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC' -M SHA-1
	pk12util -o nss-aes128.p12 -n other -d sql:nss -W $P -c AES-128-CBC -C AES-128-CBC -M SHA-512
	pk12util -o nss-utf8.p12 -n leaf -d sql:nss -W 'pässwörd€'
	pk12util -o nss-astral-3des.p12 -n leaf -d sql:nss -W 'key 🔑' -c 'PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC'
	rm -rf nss ./*.tmp
	chmod 644 ./*.p12
}

for program in "$@"; do
	"${program}_"
done
