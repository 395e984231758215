package mtasts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// maxRendered is how many texts a Publisher keeps. A Source may have a policy for any
// name below a domain, and clients choose the names.
const maxRendered = 10000

// PolicySource knows the policies of the domains that a Publisher serves.
type PolicySource interface {
	// Policy returns the policy of a domain, which comes normalised: A-labels,
	// lower case, no final dot. The bool is false if the domain has none. The
	// policy must not be changed once it has been returned.
	Policy(ctx context.Context, domain string) (*Policy, bool, error)
}

// Policies is a PolicySource by normalised domain, for those who have few.
type Policies map[string]*Policy

// Policy returns the policy of domain.
func (m Policies) Policy(_ context.Context, domain string) (*Policy, bool, error) {
	p, ok := m[domain]
	return p, ok, nil
}

// Publisher serves policy files: an http.Handler for the hosts mta-sts.<domain>
// of any number of domains (RFC 8461 section 3.3). TLS, with a certificate for
// each host, is the server's. Set the fields, then use it; it is safe for
// concurrent use.
//
// GET and HEAD of exactly /.well-known/mta-sts.txt at a known host are answered
// with status 200 and the canonical text, whatever conditions the request has:
// senders take 200 alone. There is never a redirect and never a content coding.
// Everything else is 404, another method 405, and 503 if the Source fails or has
// a policy that does not validate.
type Publisher struct {
	// Source knows the policies. It must be set.
	Source PolicySource
	// Logger is told of failures of the Source; nil: nobody is.
	Logger *slog.Logger

	mu       sync.Mutex
	rendered map[string]rendering // by domain
}

// rendering is the text of a policy, good for as long as the Source returns the
// same one.
type rendering struct {
	of   *Policy
	text []byte
}

// ServeHTTP answers one request.
func (p *Publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	domain, ok := publishedDomain(r.Host)
	if !ok || r.URL.EscapedPath() != policyPath {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	policy, ok, err := p.Source.Policy(r.Context(), domain)
	if err == nil && !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	var text []byte
	if err == nil {
		text, err = p.render(domain, policy)
	}
	if err != nil {
		if p.Logger != nil {
			p.Logger.ErrorContext(r.Context(), "MTA-STS policy cannot be served", "domain", domain, "error", err)
		}
		http.Error(w, "policy not available", http.StatusServiceUnavailable)
		return
	}
	header := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "max-age=60") // for a reverse proxy; senders do not cache (RFC 8461 section 3.3)
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // a client that went away needs no answer
	}
}

// publishedDomain is the policy domain in a Host header.
func publishedDomain(host string) (string, bool) {
	if strings.Contains(host, ":") {
		var err error
		if host, _, err = net.SplitHostPort(host); err != nil {
			return "", false
		}
	}
	if !isASCII(host) {
		return "", false // a Host header has A-labels
	}
	domain, ok := strings.CutPrefix(lowerASCII(strings.TrimSuffix(host, ".")), policyHostPrefix)
	if !ok || strings.HasSuffix(domain, ".") {
		return "", false
	}
	domain, err := normalDomain(domain)
	return domain, err == nil
}

// render writes the text of a policy once.
func (p *Publisher) render(domain string, policy *Policy) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.rendered[domain]; ok && r.of == policy {
		return r.text, nil
	}
	text, err := policy.MarshalText()
	if err != nil {
		return nil, err
	}
	if p.rendered == nil {
		p.rendered = make(map[string]rendering)
	}
	if len(p.rendered) >= maxRendered {
		clear(p.rendered)
	}
	p.rendered[strings.Clone(domain)] = rendering{policy, text}
	return text, nil
}

// PolicyID returns the id for the TXT record of a policy: the first 32 hexadecimal
// digits of the SHA-256 of its canonical text. It is the same on every node, and
// another one exactly when the text is (RFC 8461 section 3.1). The error is that
// of Validate.
func PolicyID(p *Policy) (string, error) {
	text, err := p.MarshalText()
	if err != nil {
		return "", err
	}
	return policyID(text), nil
}

func policyID(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:maxID/2])
}

// RecordFor returns the text of the TXT record at _mta-sts.<domain> for a policy,
// with its PolicyID. It is one string of 45 octets, less than the 255 above which
// a zone file would need several. The error is that of Validate.
func RecordFor(p *Policy) (string, error) {
	id, err := PolicyID(p)
	if err != nil {
		return "", err
	}
	return Record{ID: id}.String(), nil
}

// CNAME is an alias record, both names absolute.
type CNAME struct{ Name, Target string }

// CNAMEs returns the two records by which domain delegates its MTA-STS to
// provider: the TXT record, and the policy host (RFC 8461 section 8.2). The
// provider needs a certificate for the policy host's own name. The error matches
// ErrDomain if one of the two is no policy domain.
func CNAMEs(domain, provider string) ([2]CNAME, error) {
	domain, err := normalDomain(domain)
	if err != nil {
		return [2]CNAME{}, err
	}
	provider, err = normalDomain(provider)
	if err != nil {
		return [2]CNAME{}, err
	}
	return [2]CNAME{
		{"_mta-sts." + domain + ".", "_mta-sts." + provider + "."},
		{policyHostPrefix + domain + ".", policyHostPrefix + provider + "."},
	}, nil
}
