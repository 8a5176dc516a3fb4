//! cp, dd, fallocate and find: holes and times.

use mount_tests::programs::sh;
use mount_tests::same_as_tmpfs;

#[test]
fn holes_are_made_and_kept() {
    let script = "
        printf start > dense
        truncate -s 1M dense
        dd if=/dev/zero of=dense bs=64k seek=16 count=16 conv=notrunc status=none
        printf end | dd of=dense bs=1 seek=3000000 conv=notrunc status=none
        blocks() { test $(stat -c %b $1) $2 $3 || stat -c '%n has %b blocks' $1; }
        cat < dense | dd of=full bs=64k iflag=fullblock status=none; cmp dense full; blocks full -ge 5860
        for when in always auto; do
            cp -a --sparse=$when dense $when; cmp dense $when
        done
        blocks always -le 640
        dd if=full of=dd bs=64k conv=sparse status=none; cmp full dd; blocks dd -le 640
        dd if=full of=dug bs=64k status=none; fallocate --dig-holes dug; cmp full dug; blocks dug -le 640
        seq 400000 > punched; cp punched whole; fallocate --punch-hole -o 64K -l 2M punched
        { head -c 64K whole; head -c 2M /dev/zero; tail -c +2162689 whole; } | cmp - punched
        blocks punched -le 2000
        fallocate -l 1M room; blocks room -ge 2048; stat -c '%n %s' *";
    same_as_tmpfs(|root| sh(root, script));
}

#[test]
fn newer_is_a_nanosecond_newer() {
    let script = "
        for n in 1 2 3 4; do touch -d \"2024-02-29 12:00:00.00000000$n UTC\" $n; done
        cp -a 2 same; cp --preserve=timestamps 3 later
        find . -type f -newer 2 | sort
        cp -u 1 2; cp -u 4 3; stat -c %Y 3 | grep -v 1709208000 | wc -l
        test 4 -nt 1 -a 1 -ot 2 -a ! 2 -nt same && echo ordered";
    same_as_tmpfs(|root| sh(root, script));
}
