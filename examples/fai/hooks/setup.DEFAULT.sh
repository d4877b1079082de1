# FAI runs this before it defines the classes. The line of files/computes with a MAC address of this machine has its
# name and address.
while read -r mac name address; do
    for device in /sys/class/net/*/address; do
        if [ -n "$mac" ] && [ "$(cat "$device")" = "${mac,,}" ]; then
            device=${device%/address}
            export HOSTNAME=$name COMPUTE_ADDRESS=$address COMPUTE_DEVICE=${device##*/}
            echo "$name" >/proc/sys/kernel/hostname
            break
        fi
    done
done < <(tr -d '\r' <"$FAI/files/computes"; echo)
[ -n "$COMPUTE_ADDRESS" ] || die "no MAC address of this machine is in files/computes"
