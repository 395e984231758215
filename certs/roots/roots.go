// Package roots embeds the root certificates that Mozilla trusts for TLS servers,
// as the Go project publishes them, for use as the system list of a
// [certs.TrustStore]. It adds their DER, about 130 KB, and the code around it to
// a program, which is why it has to be asked for:
//
//	trust, err := certs.NewTrustStore(certs.TrustOptions{System: roots.Mozilla()})
//
// The list is as old as the version of golang.org/x/crypto/x509roots/fallback that
// the program was built with, and changes with it alone: renew it with
//
//	go get golang.org/x/crypto/x509roots/fallback@latest
//
// or, in a running program, hand a newer file to TrustStore.ReplaceSystem.
//
// Importing the package has no effect on the roots that crypto/x509 uses for the
// rest of the program.
package roots

import (
	"crypto/x509"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/smtpsec/smtpsec/certs"
)

// Mozilla returns the source that gives the embedded list. Roots that Mozilla
// distrusts from a date on carry that date. The version is that of the module the
// list comes from, which tells its date, as the build information has it; it is
// unknown in programs built without, test binaries among them.
func Mozilla() certs.RootSource { return mozilla{} }

type mozilla struct{}

func (mozilla) LoadRoots() (certs.RootList, error) {
	list := certs.RootList{Source: "mozilla"}
	if info, ok := debug.ReadBuildInfo(); ok {
		list.Version, list.Updated = bundleVersion(info)
	}
	for embedded := range bundle.Roots() {
		root, err := convert(embedded)
		if err != nil {
			return certs.RootList{}, err
		}
		list.Roots = append(list.Roots, root)
	}
	return list, nil
}

// convert parses a root of the bundle. A constraint that is not a date of distrust
// is an error, because to leave it out would be to trust the root without it.
func convert(embedded bundle.Root) (certs.Root, error) {
	cert, err := x509.ParseCertificate(embedded.Certificate)
	if err != nil {
		return certs.Root{}, fmt.Errorf("certs/roots: embedded certificate: %w", err)
	}
	root := certs.Root{Certificate: cert}
	if embedded.Constraint != nil {
		date, ok := cutoff(embedded.Constraint)
		if !ok {
			return certs.Root{}, fmt.Errorf("certs/roots: %s has a constraint of an unknown kind: a newer version of this package is needed", cert.Subject)
		}
		root.DistrustAfter = date
	}
	return root, nil
}

// The moments between which a date of distrust is looked for: 1970 and the last
// second that X.509 can express (RFC 5280 section 4.1.2.5).
const (
	earliest = 0
	latest   = 253402300799
)

// cutoff finds the date of distrust behind a constraint, which the bundle gives
// as a function: the last second at which a certificate may be issued.
func cutoff(constraint func([]*x509.Certificate) error) (time.Time, bool) {
	refused := func(second int64) bool {
		return constraint([]*x509.Certificate{{NotBefore: time.Unix(second, 0).UTC()}}) != nil
	}
	if refused(earliest) || !refused(latest) {
		return time.Time{}, false
	}
	accepted, first := int64(earliest), int64(latest) // first: refused
	for first-accepted > 1 {
		if middle := accepted + (first-accepted)/2; refused(middle) {
			first = middle
		} else {
			accepted = middle
		}
	}
	return time.Unix(accepted, 0).UTC(), true
}

// bundleModule is the module whose version dates the list.
const bundleModule = "golang.org/x/crypto/x509roots/fallback"

// bundleVersion returns the version of the bundle's module and the date inside.
func bundleVersion(info *debug.BuildInfo) (version string, updated time.Time) {
	for _, dep := range info.Deps {
		if dep.Path != bundleModule {
			continue
		}
		if dep.Replace != nil {
			dep = dep.Replace
		}
		return dep.Version, pseudoVersionDate(dep.Version)
	}
	return "", time.Time{}
}

// pseudoVersionDate returns the time in a version such as
// v0.0.0-20261030153154-30a33513ff6d, zero if it has none.
func pseudoVersionDate(version string) time.Time {
	version, _, _ = strings.Cut(version, "+")
	fields := strings.Split(version, "-")
	if len(fields) < 3 {
		return time.Time{}
	}
	stamp := fields[len(fields)-2] // "20261030153154", or "0.20261030153154" after a tag
	stamp = stamp[strings.LastIndexByte(stamp, '.')+1:]
	date, err := time.Parse("20060102150405", stamp)
	if err != nil {
		return time.Time{}
	}
	return date
}
