//! Extended attributes.

use super::Call;
use crate::fs::Result;
use crate::transport::channel::exchange::Answer;
use crate::transport::wire::{GetxattrIn, SETXATTR_ACL_KILL_SGID, SetxattrExtIn, SetxattrIn};

impl Call<'_, '_> {
    pub(super) fn setxattr(&self) -> Result<Answer> {
        let args: SetxattrIn = self.exchange.fixed()?;
        let kill_sgid = self.kills_sgid()?;
        let (name, value) = self.exchange.name_and_value(args.size)?;
        let (caller, flags) = (self.caller(), args.flags.cast_signed());
        let done = self
            .fs()
            .setxattr(&caller, self.node(), name, value, flags, kill_sgid)?;
        self.changed(done)
    }

    fn kills_sgid(&self) -> Result<bool> {
        if !self.shared.agreed.dialect.setxattr_ext {
            return Ok(false);
        }
        let args: SetxattrExtIn = self.exchange.fixed()?;
        Ok(args.setxattr_flags & SETXATTR_ACL_KILL_SGID != 0)
    }

    pub(super) fn getxattr(&mut self) -> Result<Answer> {
        let args: GetxattrIn = self.exchange.fixed()?;
        let (caller, name) = (self.caller(), self.exchange.name()?);
        let value = self.fs().getxattr(&caller, self.node(), name)?;
        self.exchange.send_sized(args.size, &value)
    }

    pub(super) fn listxattr(&mut self) -> Result<Answer> {
        let args: GetxattrIn = self.exchange.fixed()?;
        let names = self.fs().listxattr(&self.caller(), self.node())?;
        self.exchange.send_sized(args.size, &names)
    }

    pub(super) fn removexattr(&self) -> Result<Answer> {
        let (caller, name) = (self.caller(), self.exchange.name()?);
        self.changed(self.fs().removexattr(&caller, self.node(), name)?)
    }
}
