package tlspolicy

import "github.com/smtpsec/smtpsec/internal/nameindex"

// nameIndex has the settings of canonical names.
type nameIndex struct {
	nameindex.Index[packedSettings]
}

// packedSettings are Settings of which all fields are in range, as bits.
type packedSettings uint16

func packSettings(s Settings) packedSettings {
	return packedSettings(s.Mode) | packedSettings(s.DANE)<<3 | packedSettings(s.MTASTS)<<5 | packedSettings(s.Fallback)<<7
}

func (p packedSettings) mode() Mode         { return Mode(p & 7) }
func (p packedSettings) dane() DANE         { return DANE(p >> 3 & 3) }
func (p packedSettings) mtasts() MTASTS     { return MTASTS(p >> 5 & 3) }
func (p packedSettings) fallback() Fallback { return Fallback(p >> 7 & 3) }

func (p packedSettings) unpack() Settings {
	return Settings{Mode: p.mode(), DANE: p.dane(), MTASTS: p.mtasts(), Fallback: p.fallback()}
}

// add stores a name and reports whether it is new; the settings of one that is not
// stay as they are.
func (x *nameIndex) add(name string, s Settings) bool {
	_, isNew := x.Add(name, packSettings(s))
	return isNew
}
