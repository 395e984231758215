package dnssec

import (
	"context"
	"slices"
	"strings"
)

// Static is a Resolver that answers from a table, for tests and examples of whatever stands on a Resolver. The zero
// value knows no name. It is safe for concurrent use: the maps are only read, and must not change while lookups run.
type Static struct {
	// Answers holds what is found. A key may lack the final dot and have any case. What an Answer leaves at zero is
	// filled in: Name and Type from the question; Canonical from the last Step, or Name; Outcome is Found if there
	// are Records, else NoData; Security is the least of Final and the Chain, and Final is Security if there is no
	// Chain; Source is SourceStatic. Expires stays as it is. Aliases are not followed through the table: an Answer
	// carries its own Chain.
	Answers map[Question]Answer

	// Errors holds the lookups that fail, and wins over Answers. Keys are as above.
	Errors map[Question]error

	// Absent is the security of denials. A question that is not listed gets NXDomain, or NoData if its name is
	// listed with another type.
	Absent Security
}

// Lookup answers from the table. It fails if ctx has ended, if the question is a KindBadName error for every Resolver,
// or if Errors says so.
func (s Static) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	q, failed := newQuestion(name, t)
	if failed != nil {
		return nil, failed
	}
	if ctx.Err() != nil {
		return nil, canceled(ctx, q)
	}
	if err, ok := find(s.Errors, q); ok {
		return nil, err
	}
	if a, ok := find(s.Answers, q); ok {
		complete(&a, q)
		return &a, nil
	}
	outcome := NXDomain
	if hasName(s.Answers, q.Name) || hasName(s.Errors, q.Name) {
		outcome = NoData
	}
	return &Answer{
		Name: q.Name, Type: q.Type, Outcome: outcome, Canonical: q.Name,
		Final: s.Absent, Security: s.Absent, Source: SourceStatic,
	}, nil
}

func (s Static) ready(string, Type) bool { return true }

// complete fills in what a table entry leaves out.
func complete(a *Answer, q Question) {
	a.Name, a.Type, a.Source = q.Name, q.Type, SourceStatic
	if a.Canonical == "" {
		a.Canonical = q.Name
		if n := len(a.Chain); n > 0 {
			a.Canonical = a.Chain[n-1].To
		}
	}
	if a.Outcome == 0 {
		a.Outcome = NoData
		if len(a.Records) > 0 {
			a.Outcome = Found
		}
	}
	if a.Security == Indeterminate {
		a.Security = a.Final
		for _, step := range a.Chain {
			a.Security = min(a.Security, step.Security)
		}
	}
	if a.Final == Indeterminate && len(a.Chain) == 0 {
		a.Final = a.Security
	}
}

// find returns the entry for q. Of several spellings of one name the normal one wins, else the first in byte order.
func find[V any](table map[Question]V, q Question) (V, bool) {
	if v, ok := table[q]; ok {
		return v, true
	}
	var spellings []string
	for key := range table {
		if n, problem := normalName(key.Name); problem == "" && n == q.Name && key.Type == q.Type {
			spellings = append(spellings, key.Name)
		}
	}
	if len(spellings) == 0 {
		var none V
		return none, false
	}
	return table[Question{slices.MinFunc(spellings, strings.Compare), q.Type}], true
}

// hasName reports whether the table has an entry of any type for the normal name.
func hasName[V any](table map[Question]V, name string) bool {
	for key := range table {
		if n, problem := normalName(key.Name); problem == "" && n == name {
			return true
		}
	}
	return false
}
