//! Who may do what: modes, owners, privileges, access control lists, and norefs where it decides by itself.

mod acl;
mod deciding;
mod permissions;
mod privileges;
