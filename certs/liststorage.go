package certs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ListStorage keeps the custom list and the settings of a [TrustStore]. What was
// never written is reported by an error that matches [fs.ErrNotExist]; any other
// error keeps a trust store from opening. Writes replace the whole content or
// change nothing. The methods are not called at the same time by one TrustStore.
type ListStorage interface {
	ReadList() ([]byte, error) // PEM text with comments
	WriteList(text []byte) error
	ReadSettings() ([]byte, error) // JSON, below 1 KiB
	WriteSettings(data []byte) error
}

// maxSettings bounds the settings, which are a line.
const maxSettings = 4096

// listSettings are the settings as they are stored.
type listSettings struct {
	Version int  `json:"version"`
	System  bool `json:"system"` // enabled
	Custom  bool `json:"custom"` // enabled
}

const settingsVersion = 1

// newSettings are those of a trust store that has stored none: both lists enabled.
var newSettings = listSettings{Version: settingsVersion, System: true, Custom: true}

// readStoredSettings returns the stored settings, or those in service where there
// is no storage or nothing in it; the latter is told by stored.
func readStoredSettings(storage ListStorage, inService listSettings) (s listSettings, stored bool, err error) {
	if storage == nil {
		return inService, true, nil
	}
	data, err := storage.ReadSettings()
	if errors.Is(err, fs.ErrNotExist) {
		return inService, false, nil
	}
	if err == nil {
		s, err = parseSettings(data)
	}
	if err != nil {
		return s, false, fmt.Errorf("certs: settings of the trust store: %w", err)
	}
	return s, true, nil
}

func parseSettings(data []byte) (s listSettings, err error) {
	if len(data) > maxSettings {
		return s, ErrTooLarge
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return s, fmt.Errorf("%w: more than one value", ErrMalformed)
	}
	if s.Version != settingsVersion {
		return s, fmt.Errorf("%w: version %d, this program knows version %d", ErrMalformed, s.Version, settingsVersion)
	}
	return s, nil
}

func writeStoredSettings(storage ListStorage, s listSettings) error {
	if storage == nil {
		return nil
	}
	data, err := json.Marshal(s)
	if err == nil {
		err = storage.WriteSettings(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("certs: settings of the trust store: %w", err)
	}
	return nil
}

// noList returns the custom list of a trust store that has stored none.
func noList() *caList {
	list, _ := newCAList(CustomCAs, nil)
	list.source = CustomCAs.String()
	return list
}

// readStoredList is readStoredSettings for the custom list.
func readStoredList(storage ListStorage, inService *caList) (list *caList, stored bool, err error) {
	if storage == nil {
		return inService, true, nil
	}
	data, err := storage.ReadList()
	if errors.Is(err, fs.ErrNotExist) {
		return inService, false, nil
	}
	var text caText
	if err == nil {
		text, err = parseCAText(data, false)
	}
	if err != nil {
		return nil, false, placed("stored custom list", err)
	}
	list, _ = newCAList(CustomCAs, text.entries)
	list.source, list.updated = CustomCAs.String(), text.updated
	return list, true, nil
}

// writeStoredList stores the list. A list whose text could not be read back, for
// its size, is refused, with or without storage.
func writeStoredList(storage ListStorage, list *caList) error {
	if len(list.entries) > MaxListCertificates {
		return fmt.Errorf("certs: custom list: %w: %d certificates, at most %d", ErrTooLarge, len(list.entries), MaxListCertificates)
	}
	text := list.appendText(nil)
	if len(text) > MaxListInput {
		return fmt.Errorf("certs: custom list: %w: its text would have %d octets, at most %d", ErrTooLarge, len(text), MaxListInput)
	}
	if storage == nil {
		return nil
	}
	if err := storage.WriteList(text); err != nil {
		return fmt.Errorf("certs: custom list: %w", err)
	}
	return nil
}
