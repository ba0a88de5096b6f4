//go:build tools

// Package controlplane pins the programs of a real Kubernetes control plane for tests.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
