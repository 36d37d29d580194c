// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package peers measures what serving and coordinating cost, beside other libraries
// in the same run; its directories are one small service on each of them, for what is
// lost when such a service ends. It is a module of its own because some of them take
// minutes to compile: CI compiles the light ones, "make peers" all.
package peers
