// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package drain takes an [net/http.Server], or a gRPC server, off the air without
// losing a request.
//
// [http.Server.Shutdown] closes the listener while load balancers still send,
// closes idle connections into which a client may be writing, and drops requests
// that it has already read. So a [Server] does everything before that call, and
// makes it last, when nothing is left for it to do:
//
//	T0                     Drain is called; everything is still served
//	  accept window        new connections are accepted; answers say
//	                       "Connection: close" with a rising probability; what
//	                       lives long is told to go, spread over the floor
//	AcceptWindowClosed     the floor has passed and it has been quiet, or the cap
//	                       is hit; the accept queue is emptied, then the listener
//	                       closed; every request that begins is told
//	  linger               idle connections may still bring the request whose
//	                       answer tells their client to go
//	Drained                no connection is left; http.Server.Shutdown is called
//
// Requests still running shortly before the deadline have their context
// cancelled with [ErrCut] as its cause, so that they can still answer; what is
// left then is closed, counted and named in the [Report]. Handlers of WebSockets,
// streams and long polls learn by [Draining] or [LongLived] that it is time to go.
// Work that is not HTTP has a [Tracker].
//
// # States of a connection
//
// They are those of [Stats]. Once Drain is called each ends in a way of its own, which
// the [Report] counts under the name at the end of the line:
//
//	accepted --> New --> Active <--> Idle
//	              |       |   |       |
//	              |       | Hijacked  |
//	              v       v   v       v
//	                    closed
//
//	New       once the listener is closed, Silent after its accept       Silent
//	Active    after an answer that says "Connection: close"              Told
//	Idle      after Linger, and 300 ms after the listener is closed      Idle
//	Hijacked  by its handler, which learns by Draining that it is time   Hijacked
//	any       if the rest of a request does not come within 5 s          Unfinished
//	any       shortly before the deadline, by force                      Cut
//
// Of HTTP/2 a connection is Active while it has a stream. It ends after a GOAWAY, which is
// counted as GoAway or GoAwayOnce.
//
// # Concurrency
//
// A Server may serve any number of listeners at once. Drain may be called from
// any goroutine, any number of times; it drains once, and every call returns the
// same result. Waiting is by events and by the earliest time at which something
// can become due, never by polling.
//
// # HTTP/2
//
// The GOAWAY of net/http refuses the streams that are on their way at that moment,
// and their requests are lost. So a client is told to go in two steps (RFC 9113,
// section 6.8): a GOAWAY that refuses none, and a PING; and once the PING has come
// back, or two seconds later, net/http's own, with the next answer or by Shutdown.
// Connections of before Drain's call are told in the first half of
// [Server.Spread], those of the accept window once it is closed: before, their
// clients would come back here. Handlers that wait for it are told by [Draining]
// and [LongLived] when their client knows.
//
// Both kinds, HTTP/2 over TLS and without it, are served by net/http, through a
// connection that follows the frames so that the first GOAWAY gets in between two of
// them. It is put there by way of [http.Server.TLSNextProto], when Serve is called
// first: of its functions the one for HTTP/2 without TLS, as net/http and a current
// golang.org/x/net/http2 have it there, serves both, and one that a caller has put
// around that for "h2" is not called. Where there is none net/http's single step has
// to do, and the report says so.
// HTTP/2 by golang.org/x/net/http2/h2c.NewHandler is a hijacked connection, since it
// hijacks. Servers that share one map in TLSNextProto share what net/http has set up first
// for one of them: give each its own.
//
// A client that reads a large answer slowly may not have been told when its time is
// over, since the GOAWAY is behind the answer. It is given ten seconds more while it
// shows that it reads on: it has streams open, sends, or on Linux takes of what was
// sent. Nor is the connection closed then, for as long as it takes something within
// three seconds, or for ten seconds if it sends something twice a second. One that shows
// no sign of life is not waited for; what it has not taken by the deadline is cut, and
// named.
//
// # gRPC
//
// A *grpc.Server of google.golang.org/grpc, in [Server.GRPC], has the same phases. Its
// GracefulStop closes the listener before anything else, tells all clients at one
// instant, in the two steps above, and waits for streams without bound; here it is
// called once clients have been told one by one, and [GRPCServer]'s Stop at the
// deadline. GracefulStop refuses no stream, so it is not put off for those that run.
//
// The gRPC server does not say what it is doing, so its interceptors do, by
// [Server.Call]: what is traffic, what has to be told and cancelled, and what names the
// report can give. With TLS the GOAWAY has to get in under the credentials' encryption,
// which [Decrypted] is for; without it these clients are told by GracefulStop alone.
// examples/more/grpc has both to copy.
//
// A connection on which no handshake comes to its end keeps GracefulStop and Stop from
// doing anything for up to two minutes. So it is ended before, as a silent one of HTTP
// is, except one with TLS while Decrypted has not been called. Cancelling the context of
// a call does not end a Recv of its handler, such as that of server reflection: one that
// waits there and is to be told receives in a goroutine of its own. What grpc-go still
// has to write when a handler has returned, or to read before one begins, has no name: at
// the cut it is called by its connection, or GracefulStop that has not returned. A
// connection that the credentials keep for themselves is one as long as it is open.
//
// # Limits
//
// Whether an answer says "Connection: close" is decided when its handler begins,
// so that the ResponseWriter need not be wrapped: a wrapper costs an allocation for
// each request. A connection whose request was running at that moment is
// therefore told by its next answer, or lingers. Closing an idle connection can
// always cross a request that is on its way (RFC 9112, section 9.5); on Unix a last
// look into the socket makes that unlikely, or a last read where the listener's
// connections neither are sockets nor have a NetConn method that leads to one. Half
// of a pipelined request that came in one packet with the request before is not seen
// by that look.
//
// Net/http answers "OPTIONS *" without a handler, and so without "Connection: close",
// unless DisableGeneralOptionsHandler is set. A Connection header that a handler sets
// itself wins over ours. A 103 that it sends first carries ours, too, but not in HTTP/2,
// where it does not belong (RFC 9113, section 8.2.2).
//
// That no handshake begins while the accept queue is emptied takes Linux and a
// listener of [Listen].
package drain
