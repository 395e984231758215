/*
 * Asks libssl's own DANE engine about TLSA records and certificate chains.
 *
 * Cases come on stdin, a line per item and a line "end" behind each:
 *
 *	time SECONDS            when to judge
 *	name NAME               reference identifier; the first is the TLSA base domain
 *	tlsa U S M HEX          a record; "-" for no data
 *	cert HEX                a certificate in DER, the server's first
 *	end
 *
 * One line answers each: the number of usable records, then "match USAGE DEPTH"
 * or "mismatch ERROR" with OpenSSL's words, or "error" with what went wrong.
 *
 * Set up as mail needs it: no names for usage 3 (RFC 7672 section 3.1.1), no
 * partial wildcards, usages 0 and 1 left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char line[1 << 20];
static unsigned char data[1 << 19];

static size_t unhex(const char *s)
{
	size_t n = 0;
	unsigned v;

	if (s[0] == '-')
		return 0;
	for (; sscanf(s, "%2x", &v) == 1; s += 2)
		data[n++] = (unsigned char)v;
	return n;
}

int main(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;
	STACK_OF(X509) *chain = NULL;
	X509_STORE *store;
	long when = 0;
	int usable = 0, names = 0;
	int u, s, m, at;

	if (ctx == NULL || SSL_CTX_dane_enable(ctx) <= 0)
		return 1;
	SSL_CTX_dane_set_flags(ctx, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_CTX_set_security_level(ctx, 1);
	store = X509_STORE_new();

	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;
		if (ssl == NULL) {
			ssl = SSL_new(ctx);
			chain = sk_X509_new_null();
			usable = names = 0;
		}
		if (strncmp(line, "time ", 5) == 0) {
			when = atol(line + 5);
		} else if (strncmp(line, "name ", 5) == 0) {
			if (names++ == 0) {
				if (SSL_dane_enable(ssl, line + 5) <= 0)
					return 2;
				SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
			} else if (SSL_add1_host(ssl, line + 5) != 1) {
				return 3;
			}
		} else if (sscanf(line, "tlsa %d %d %d %n", &u, &s, &m, &at) >= 3) {
			size_t n = unhex(line + at);
			if (u >= 2 && SSL_dane_tlsa_add(ssl, (uint8_t)u, (uint8_t)s, (uint8_t)m, data, n) > 0)
				usable++;
		} else if (strncmp(line, "cert ", 5) == 0) {
			const unsigned char *p = data;
			X509 *cert = d2i_X509(NULL, &p, (long)unhex(line + 5));
			if (cert != NULL)
				sk_X509_push(chain, cert);
		} else if (strcmp(line, "end") == 0) {
			X509_STORE_CTX *verify = X509_STORE_CTX_new();
			X509_VERIFY_PARAM *param;

			if (usable == 0) { /* libssl would fall back to ordinary verification */
				printf("0 unusable\n");
			} else if (sk_X509_num(chain) == 0) {
				printf("%d mismatch no certificate\n", usable);
			} else if (!X509_STORE_CTX_init(verify, store, sk_X509_value(chain, 0), chain)) {
				printf("%d error init\n", usable);
			} else {
				param = X509_STORE_CTX_get0_param(verify);
				X509_STORE_CTX_set0_dane(verify, SSL_get0_dane(ssl));
				X509_STORE_CTX_set_default(verify, "ssl_server");
				X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl));
				X509_VERIFY_PARAM_set_time(param, when);
				X509_VERIFY_PARAM_set_auth_level(param, 1);
				if (X509_verify_cert(verify) > 0) {
					uint8_t usage = 255;
					int depth;
					SSL_set_verify_result(ssl, X509_V_OK);
					depth = SSL_get0_dane_authority(ssl, NULL, NULL);
					SSL_get0_dane_tlsa(ssl, &usage, NULL, NULL, NULL, NULL);
					if (depth < 0)
						printf("%d error verified without a record\n", usable);
					else
						printf("%d match %d %d\n", usable, usage, depth);
				} else {
					printf("%d mismatch %s\n", usable,
					    X509_verify_cert_error_string(X509_STORE_CTX_get_error(verify)));
				}
			}
			fflush(stdout);
			X509_STORE_CTX_free(verify);
			sk_X509_pop_free(chain, X509_free);
			SSL_free(ssl);
			ssl = NULL;
			ERR_clear_error();
		} else {
			printf("error line\n");
			return 4;
		}
	}
	return 0;
}
