package inbound

import "strings"

// Address brings an address into the form in which it stands between angle brackets:
// go-smtp hands it over with the quotes of a quoted local part removed (RFC 5321
// section 4.1.2).
func Address(mailbox string) string {
	at := strings.LastIndexByte(mailbox, '@')
	if at < 0 {
		return mailbox
	}
	local, domain := mailbox[:at], mailbox[at:]
	special := strings.ContainsAny(local, " \t\"(),:;<>@[\\]")
	if !special && !strings.HasPrefix(local, ".") && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..") {
		return mailbox
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"` + domain
}

// LeadsOn reports whether a local part names a way to go on. The next host might go it
// for us, and so for whoever may write to our domains but not relay: user%domain,
// domain!user, "user@domain".
func LeadsOn(mailbox string) bool {
	return strings.ContainsAny(mailbox[:max(0, strings.LastIndexByte(mailbox, '@'))], "%!@")
}
