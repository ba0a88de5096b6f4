//go:build tools

// Package provisioner pins the sidecar that needs other versions of Kubernetes' libraries than those of test/cluster.
package provisioner

import _ "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"
