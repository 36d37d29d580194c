// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build !linux && !darwin && !freebsd && !windows

package checks

import "errors"

func diskFree(string) (uint64, error) { return 0, errors.ErrUnsupported }
