# What the user who is root in a user namespace does in a mount of its own. $1 is that mount.
cd "$1"
umask 022
echo content >file
mkdir dir
ln -s file link
mkfifo fifo
stat -c '%n %u %g %a %F' . file dir link fifo
for name in 1 65534; do
    chown "$name" file 2>/dev/null && echo "chown $name" || echo "chown $name fails"
done
chown 0:0 file
chmod 4755 file
stat -c '%a' file
chmod 6755 file
echo more >>file
stat -c '%a' file
mknod device c 1 3 2>/dev/null && echo mknod || echo 'mknod fails'
setfattr -n user.a -v value file
getfattr -n user.a --only-values file
setfattr -n trusted.a -v value file 2>/dev/null && echo trusted || echo 'trusted fails'
touch -d @12345 file
stat -c '%Y' file
mv file dir/moved
ln dir/moved again
stat -c '%h %u' again
# A user namespace below.
unshare -U sh -c 'echo below >below; cat below; mkdir below.d'
stat -c '%n %u %g' below below.d
unshare -Ur sh -c 'stat -c "%n %u %g" below; echo below >>below; rm below'
rm -r dir again link below.d
ls -A
