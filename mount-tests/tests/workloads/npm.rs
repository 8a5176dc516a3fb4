//! npm: packages unpacked, linked and taken away.

use mount_tests::Daemon;
use mount_tests::programs::{is_installed, sh};

#[test]
fn a_package_is_installed_and_installed_anew() {
    if !is_installed("npm") || !is_installed("node") {
        return;
    }
    let mount = Daemon::start();
    let script = "
        export npm_config_cache=$PWD/cache npm_config_offline=true npm_config_update_notifier=false
        export npm_config_audit=false npm_config_fund=false npm_config_loglevel=error
        mkdir packed linked app
        for name in packed linked; do
            echo \"{\\\"name\\\":\\\"$name\\\",\\\"version\\\":\\\"1.0.0\\\",\\\"bin\\\":\\\"run.js\\\"}\" > $name/package.json
            printf '#!/usr/bin/env node\\nconsole.log(\"%s\")\\n' $name > $name/run.js
            cp $name/run.js $name/index.js; chmod +x $name/run.js
        done
        npm pack --silent ./packed > /dev/null; cd app
        npm init -y > /dev/null
        npm install ../packed-1.0.0.tgz ../linked > /dev/null
        node -e 'require(\"packed\"); require(\"linked\")'
        npm ci > /dev/null
        node_modules/.bin/packed; node_modules/.bin/linked
        test -L node_modules/linked; test -d node_modules/packed
        npm uninstall packed linked > /dev/null; test ! -e node_modules/packed";
    assert_eq!(sh(mount.root(), script), "packed\nlinked\n".repeat(2));
}
