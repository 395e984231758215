// Package inbound is what go-smtp leaves to its users when mail comes in: the true form
// of addresses, and the pace of message data.
//
//	func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
//		if !mayRelay && inbound.LeadsOn(to) {
//			... // 550
//		}
//		recipient := inbound.Address(to)
//
//	func (s *session) Data(r io.Reader) error {
//		_, err := io.Copy(w, inbound.Pace(r, conn))
//		if errors.Is(err, inbound.ErrBrokeOff) {
//			... // 451: the client's fault or the network's, not the disk's
//		}
package inbound
