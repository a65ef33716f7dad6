//! How many processors the daemon may keep busy.

use std::fs;
use std::path::Path;

use crate::sys::process;

/// Those that it may run on, or fewer if its control groups give it less time than that; at least 1.
pub fn processors() -> usize {
    let allowed = process::processors();
    quota(Path::new("/sys/fs/cgroup"), Path::new("/proc/self/cgroup"))
        .map_or(allowed, |quota| quota.clamp(1, allowed))
}

/// How many processors' time the control groups in `top` give, rounded down: those of version 2 from the one that the file `own`
/// names upwards, and the one of version 1 that a container sees as its own.
fn quota(top: &Path, own: &Path) -> Option<usize> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let first = top.join("cpu");
    let mut least = share(&read(&first.join("cpu.cfs_quota_us")), &read(&first.join("cpu.cfs_period_us")));
    let groups = read(own);
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    for group in top.join(own).ancestors().take_while(|group| group.starts_with(top)) {
        let text = read(&group.join("cpu.max"));
        let here = text.split_once(' ').and_then(|(quota, period)| share(quota, period));
        least = [least, here].into_iter().flatten().min();
    }
    least
}

/// Microseconds of processors in so many of the clock. Without a limit there is no number.
fn share(quota: &str, period: &str) -> Option<usize> {
    quota.trim().parse::<usize>().ok()?.checked_div(period.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::PrivateDir;

    #[test]
    fn the_tightest_group_counts() {
        let dir = PrivateDir::new(&std::env::temp_dir(), "distcc-groups-").unwrap();
        let own = dir.path().join("own");
        let top = dir.path().join("groups");
        let write = |name: &str, text: &str| {
            let file = top.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        fs::write(&own, "1:cpu:/x\n0::/service/worker\n").unwrap();
        assert_eq!(quota(&top, &own), None, "there are no groups");
        write("service/worker/cpu.max", "max 100000\n");
        assert_eq!(quota(&top, &own), None);
        write("service/cpu.max", "350000 100000\n");
        assert_eq!(quota(&top, &own), Some(3));
        write("service/worker/cpu.max", "50000 100000\n");
        assert_eq!(quota(&top, &own), Some(0), "less than one");
        write("service/worker/cpu.max", "600000 100000\n");
        write("cpu.max", "100000 0\n");
        assert_eq!(quota(&top, &own), Some(3));
        fs::write(&own, "0::/\n").unwrap();
        assert_eq!(quota(&top, &own), None);
        write("cpu/cpu.cfs_quota_us", "200000\n");
        write("cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota(&top, &own), Some(2), "version 1");
        write("cpu/cpu.cfs_quota_us", "-1\n");
        assert_eq!(quota(&top, &own), None);
    }
}
