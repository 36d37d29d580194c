// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
)

// preStop begins the shutdown and answers when no server accepts connections any
// more. If the hook goes away before that, the shutdown goes on.
func (p *process) preStop(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // the only one that the kubelet knows
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	// Of the same length, so that the time says nothing about the token's.
	got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	want := sha256.Sum256([]byte("Bearer " + p.app.PreStopToken))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		http.Error(w, "the pre-stop hook needs its token", http.StatusForbidden)
		return
	}
	takesItsTime(w, r)
	p.app.Shutdown("pre-stop hook")
	for _, part := range p.parts {
		if part.Server == nil {
			continue
		}
		select {
		case <-part.windowDone:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintln(w, "the accept window is over")
}
