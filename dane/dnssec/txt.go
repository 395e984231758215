package dnssec

import "context"

// LookupTXT asks for the TXT records at name. The character-strings of one record are joined without anything between
// them, as every user of TXT records for mail demands (RFC 7208 section 3.3, RFC 8461 section 3.1). Malformed records
// are left out. No records is not an error: the Answer tells why there are none. Errors are those of r.
func LookupTXT(ctx context.Context, r Resolver, name string) ([]string, *Answer, error) {
	a, err := r.Lookup(ctx, name, TypeTXT)
	if err != nil {
		return nil, nil, err
	}
	var texts []string
	for _, record := range a.Records {
		if text, ok := parseTXT(record.Data); ok {
			texts = append(texts, text)
		}
	}
	return texts, a, nil
}

// parseTXT joins the character-strings of TXT RDATA, of which there is at least one (RFC 1035 section 3.3.14).
func parseTXT(data []byte) (string, bool) {
	if len(data) == 0 {
		return "", false
	}
	text := make([]byte, 0, len(data))
	for len(data) > 0 {
		size := 1 + int(data[0])
		if size > len(data) {
			return "", false
		}
		text = append(text, data[1:size]...)
		data = data[size:]
	}
	return string(text), true
}
