// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command cron runs a job on a schedule. When it is replaced it starts no job any more,
// finishes the one that runs, and only then lets go of what jobs need. Copy it, and put
// your own in place of report.
//
// It serves the probes on $PROBE_PORT (8081). Set $API_URL, what the job asks, and
// $SCHEDULE, as for cron or as "@every 1m".
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes/checks"
)

// jobTimeout keeps a job whose API hangs from being the last one.
const jobTimeout = 5 * time.Minute

func main() {
	api := cmp.Or(os.Getenv("API_URL"), "http://localhost:8080")
	if u, err := url.Parse(api); err != nil || u.Host == "" {
		fmt.Fprintf(os.Stderr, "API_URL: %q is not the URL of a server\n", api)
		os.Exit(2)
	}
	var running drain.Tracker
	schedule := cron.New(cron.WithChain(cron.Recover(cron.DefaultLogger), cron.SkipIfStillRunning(cron.DiscardLogger)))
	_, err := schedule.AddFunc(cmp.Or(os.Getenv("SCHEDULE"), "@every 1m"), func() {
		ctx, done, err := running.Start(context.Background(), "report")
		if err != nil {
			return // shutting down
		}
		defer done()
		if err := report(ctx, api); err != nil {
			slog.Error("report", "error", err)
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "SCHEDULE:", err)
		os.Exit(2)
	}
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: ":" + cmp.Or(os.Getenv("PROBE_PORT"), "8081"),
		Components: []lifecycle.Component{
			{Name: "api", Ready: checks.HTTP(nil, api)},
			{
				Name: "cron", DependsOn: []string{"api"},
				Start: func(context.Context) error { schedule.Start(); return nil },
				Drain: func(ctx context.Context) error { schedule.Stop(); return running.Drain(ctx) },
				Ready: func(context.Context) error { return nil }, // so that it is named beside api
			},
		},
	})
}

// report stands for a job. Its context ends when the grace period is nearly over.
func report(ctx context.Context, api string) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/report", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}
