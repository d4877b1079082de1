# FAI reads this before it knows the classes: the machine's name and address are those of its MAC address.
while read -r mac name address; do
    for device in /sys/class/net/*; do
        if [ "$(cat "$device/address")" = "$mac" ]; then
            export HOSTNAME=$name COMPUTE_ADDRESS=$address COMPUTE_DEVICE=${device##*/}
            echo "$name" >/proc/sys/kernel/hostname
        fi
    done
done <"$FAI/files/computes"
[ -n "$COMPUTE_ADDRESS" ] || die "no MAC address of this machine is in files/computes"
