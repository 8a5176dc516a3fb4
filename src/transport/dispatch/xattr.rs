//! Extended attributes.

use super::Call;
use crate::transport::exchange::Answer;
use crate::transport::wire::{GetxattrIn, SetxattrIn};
use crate::tree::Result;

impl Call<'_, '_> {
    pub(super) fn setxattr(&self) -> Result<Answer> {
        let args: SetxattrIn = self.exchange.fixed()?;
        let (name, value) = self.exchange.name_and_value(args.size)?;
        let (caller, flags) = (self.exchange.caller(), args.flags.cast_signed());
        let done = self
            .fs()
            .setxattr(&caller, self.node(), name, value, flags)?;
        self.changed(done)
    }

    pub(super) fn getxattr(&mut self) -> Result<Answer> {
        let args: GetxattrIn = self.exchange.fixed()?;
        let (caller, name) = (self.exchange.caller(), self.exchange.name()?);
        let value = self.fs().getxattr(&caller, self.node(), name)?;
        self.exchange.send_sized(args.size, &value)
    }

    pub(super) fn listxattr(&mut self) -> Result<Answer> {
        let args: GetxattrIn = self.exchange.fixed()?;
        let names = self.fs().listxattr(&self.exchange.caller(), self.node())?;
        self.exchange.send_sized(args.size, &names)
    }

    pub(super) fn removexattr(&self) -> Result<Answer> {
        let (caller, name) = (self.exchange.caller(), self.exchange.name()?);
        self.changed(self.fs().removexattr(&caller, self.node(), name)?)
    }
}
