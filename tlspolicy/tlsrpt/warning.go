package tlsrpt

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

const (
	// maxWarnings bounds the warnings about one text: a hostile one has a defect
	// in every octet.
	maxWarnings = 100
	// maxClip is how much of an offending text a warning or error repeats.
	maxClip = 100
)

// WarningCode says what a parser tolerated.
type WarningCode uint8

const (
	// Records.

	WarnEmptyField  WarningCode = iota + 1 // nothing between two semicolons
	WarnTrailing                           // blank after the last field
	WarnField                              // malformed field, ignored
	WarnTarget                             // malformed or empty target, ignored
	WarnManyTargets                        // target beyond those that are used, ignored
	WarnScheme                             // target of another scheme than mailto and https: kept, not used
	WarnMailHeader                         // header fields in a mailto URI, ignored
	WarnFragment                           // fragment of an https URI, dropped
	WarnUnencoded                          // exclamation mark that should be percent-encoded (RFC 8460 section 3)

	// Reports.

	WarnBOM             // byte order mark, ignored
	WarnAfterReport     // text after the report, ignored
	WarnTimestamp       // date that is not of RFC 3339, read as UTC
	WarnRange           // range whose end is the next midnight: read as the end of the day
	WarnOneString       // string or null where an array belongs
	WarnArray           // object or null where an array belongs, or no array
	WarnCount           // count as a string or as a float
	WarnSummary         // summary missing, or smaller than its details
	WarnType            // type that RFC 8460 does not define, or not in lower case: kept
	WarnMember          // member that RFC 8460 does not define: kept
	WarnDuplicate       // member given twice, the last counts
	WarnMissing         // member that is missing, or not of the type that it should be: read as empty
	WarnAddress         // text that is not an IP address where one belongs, ignored
	WarnMore            // more warnings than are told
	WarnAttachment      // attachment that is not labelled as a report, or a message that is nothing else
	WarnReportType      // message that is not multipart/report with report-type tlsrpt
	WarnDisagree        // file name, header and report disagree: the report counts
	WarnDuplicateHeader // TLS-Report field given twice, the first counts
)

var warningNames = [...]string{
	WarnEmptyField: "empty-field", WarnTrailing: "trailing", WarnField: "field", WarnTarget: "target",
	WarnManyTargets: "many-targets", WarnScheme: "scheme", WarnMailHeader: "mail-header", WarnFragment: "fragment",
	WarnUnencoded: "unencoded", WarnBOM: "bom", WarnAfterReport: "after-report", WarnTimestamp: "timestamp",
	WarnRange: "range", WarnOneString: "one-string", WarnArray: "array", WarnCount: "count", WarnSummary: "summary",
	WarnType: "type", WarnMember: "member", WarnDuplicate: "duplicate", WarnMissing: "missing", WarnAddress: "address",
	WarnMore: "more", WarnAttachment: "attachment", WarnReportType: "report-type", WarnDisagree: "disagree",
	WarnDuplicateHeader: "duplicate-header",
}

// String returns the code's stable name, such as "timestamp".
func (c WarningCode) String() string {
	if int(c) < len(warningNames) && warningNames[c] != "" {
		return warningNames[c]
	}
	return fmt.Sprintf("WarningCode(%d)", uint8(c))
}

// Warning is something in a record or report that did not stop its parser.
type Warning struct {
	Code   WarningCode
	Where  string // "column 12" of a record, "policies[3].summary" of a report
	Detail string // the text in question, shortened
}

// String returns the warning as one line of text.
func (w Warning) String() string { return fmt.Sprintf("%s: %s: %q", w.Where, w.Code, w.Detail) }

func column(offset int) string { return "column " + strconv.Itoa(offset+1) }

// clip shortens a text for a message.
func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	return cut(s, maxClip) + "..."
}

// cut returns at most n octets of s, and no part of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
