//! Empty: this package only pins the packages that fetch.sh unpacks.
