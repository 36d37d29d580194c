// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package steps lets package lifecycle name a component that is starting as a step of
// start-up, under a name that stays the program's.
package steps

// Lend adds a step to a *probes.Registry, and is set by package probes. If the program
// expects a step of that name, before or after, there is none but the program's, and
// done does nothing.
var Lend func(registry any, name string) (done func())
