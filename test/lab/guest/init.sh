#!/bin/bash
# PID 1 of a lab guest: no systemd and no udev. The host gives it its name, addresses and disks through the guest agent.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /dev/pts /dev/shm /dev/virtio-ports
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock /run/lvm /run/mdadm
# a kubelet's bidirectional mounts, and anything that follows them, need a shared root
mount --make-rshared /
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
modprobe -a configfs
mount -t configfs configfs /sys/kernel/config
ip link set lo up
for port in /sys/class/virtio-ports/*; do
  ln -sfn "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
qemu-ga -d -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -f /run/qemu-ga.pid
echo "LAB-READY" > /dev/console
exec /bin/busybox sh -c 'trap "sync; poweroff -f" TERM; while :; do wait; sleep 10; done'
