#!/bin/sh
# PID 1 of the initramfs: the read-only root on /dev/vda, a RAM disk over it, then the guest's own init.
/bin/mount -t devtmpfs dev /dev
/bin/mount -t proc proc /proc
/bin/mount -t sysfs sys /sys
while read -r module; do insmod "/lib/modules/$module"; done < /modules
i=0
while [ ! -b /dev/vda ] && [ $i -lt 500 ]; do sleep 0.02; i=$((i + 1)); done
mount -t erofs -o ro /dev/vda /ro
mount -t tmpfs -o size=75% tmpfs /rw
mkdir -p /rw/upper /rw/work
mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new
mount --move /dev /new/dev
mount --move /proc /new/proc
mount --move /sys /new/sys
exec switch_root /new /lab/init
