package certs

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// HostRoots returns the source that gives what crypto/x509 finds as the operating
// system's roots. Go reads them once in the life of a process, so loading them
// again does not show a change of the host's.
//
// The roots can be listed where they are files of PEM certificates that hold
// neither more nor less than what Go trusts. Elsewhere, on Windows and macOS in
// any case, they can be used but not listed: [ErrNotEnumerable].
func HostRoots() RootSource { return hostRoots{} }

type hostRoots struct{}

func (hostRoots) LoadRoots() (RootList, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return RootList{}, fmt.Errorf("certs: the host's roots: %w", err)
	}
	list := RootList{Source: "host", Version: "host"}
	files, dirs := hostPlaces(runtime.GOOS, os.Getenv("SSL_CERT_FILE"), os.Getenv("SSL_CERT_DIR"))
	found := x509.NewCertPool()
	for _, cert := range hostCertificates(files, dirs) {
		found.AddCert(cert)
		list.Roots = append(list.Roots, Root{Certificate: cert})
	}
	if len(list.Roots) > MaxListCertificates || !found.Equal(pool) {
		list.Roots, list.opaque = nil, pool
	}
	return list, nil
}

// hostPlaces returns where crypto/x509 looks: the first file that can be read,
// and all directories. The lists are those of its files root_linux.go and
// root_bsd.go, the variables are OpenSSL's.
func hostPlaces(system, file, dir string) (files, dirs []string) {
	switch system {
	case "linux":
		files = []string{
			"/etc/ssl/certs/ca-certificates.crt",
			"/etc/pki/tls/certs/ca-bundle.crt",
			"/etc/ssl/ca-bundle.pem",
			"/etc/pki/tls/cacert.pem",
			"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
			"/etc/ssl/cert.pem",
		}
		dirs = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	case "dragonfly", "freebsd", "netbsd", "openbsd":
		files = []string{
			"/usr/local/etc/ssl/cert.pem",
			"/etc/ssl/cert.pem",
			"/usr/local/share/certs/ca-root-nss.crt",
			"/etc/openssl/certs/ca-certificates.crt",
		}
		dirs = []string{"/etc/ssl/certs", "/usr/local/share/certs", "/etc/openssl/certs"}
	default:
		return nil, nil
	}
	if file != "" {
		files = []string{file}
	}
	if dir != "" {
		dirs = strings.Split(dir, ":")
	}
	return files, dirs
}

// hostCertificates reads the first file there is, and all files of the
// directories, and returns every certificate once. What cannot be read is left
// out: the caller compares the result with what Go trusts.
func hostCertificates(files, dirs []string) []*x509.Certificate {
	var certs []*x509.Certificate
	seen := make(map[string]bool)
	read := func(path string) bool {
		data, _, err := readInput(path, MaxListInput)
		if err != nil {
			return false
		}
		defer zero(data) // the host keeps keys in such places too
		m, err := ReadBytes(data, ReadOptions{List: true, Lenient: true})
		if err != nil {
			return true
		}
		for _, cert := range m.Certificates {
			if !seen[string(cert.Raw)] {
				seen[string(cert.Raw)] = true
				certs = append(certs, cert)
			}
		}
		return true
	}
	for _, file := range files {
		if read(file) {
			break
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if len(certs) > MaxListCertificates {
				return certs
			}
			read(filepath.Join(dir, entry.Name()))
		}
	}
	return certs
}
