# FAI runs this before it defines the classes. The line of files/computes with a MAC address of this machine has its
# name and address.
while read -r mac name address; do
    for device in /sys/class/net/*; do
        if [ "$(cat "$device/address")" = "${mac,,}" ]; then
            export HOSTNAME=$name COMPUTE_ADDRESS=$address COMPUTE_DEVICE=${device##*/}
            echo "$name" >/proc/sys/kernel/hostname
        fi
    done
done <"$FAI/files/computes"
[ -n "$COMPUTE_ADDRESS" ] || die "no MAC address of this machine is in files/computes"
