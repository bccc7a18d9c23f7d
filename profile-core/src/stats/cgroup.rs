//! The control group: what it may use, what it uses, and how often it was held back. Both versions.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stats::text::FileText;

/// The open files of the process's control group.
#[derive(Debug, Default)]
pub(super) struct ControlGroup {
    /// The level with the lowest memory limit, its limit and its use.
    memory: Option<(File, Option<File>)>,
    pressure: Option<File>,
    cpu: Option<QuotaFiles>,
    cpu_stat: Option<File>,
}

/// The files that a CPU limit stands in.
#[derive(Debug)]
enum QuotaFiles {
    /// `cpu.max`: `QUOTA PERIOD`, or `max PERIOD`.
    V2(File),
    /// `cpu.cfs_quota_us`, −1 for none, and `cpu.cfs_period_us`.
    V1(File, File),
}

/// Figures that a control group gives of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct GroupFigures {
    pub(super) memory_limit: Option<u64>,
    pub(super) memory_used: Option<u64>,
    pub(super) memory_pressure: Option<f64>,
    pub(super) cpu_limit: Option<f64>,
    pub(super) throttled: Option<Duration>,
    pub(super) throttled_periods: Option<u64>,
}

/// Version 1 writes "no limit" as the largest number of pages.
const NO_LIMIT: u64 = 1 << 60;

impl ControlGroup {
    pub(super) fn open() -> ControlGroup {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        ControlGroup::open_below(Path::new("/sys/fs/cgroup"), &groups)
    }

    /// Returns the group that `/proc/self/cgroup` names, where control groups are mounted at
    /// `root`.
    fn open_below(root: &Path, groups: &str) -> ControlGroup {
        let memory_v1 = root.join("memory");
        let cpu_v1 = ["cpu,cpuacct", "cpu"].map(|name| root.join(name));
        let cpu_v1 = cpu_v1.into_iter().find(|mount| mount.is_dir());
        let v2 = path_of(groups, "");
        let mut group = ControlGroup::default();
        match path_of(groups, "memory").filter(|_| memory_v1.is_dir()) {
            Some(path) => {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
                group.memory = find_lowest(&levels(&memory_v1, path), files);
            }
            None => {
                if let Some(path) = v2 {
                    let levels = levels(root, path);
                    group.memory = find_lowest(&levels, ["memory.max", "memory.current"]);
                    group.pressure = open_first(&levels, "memory.pressure");
                }
            }
        }
        match path_of(groups, "cpu").zip(cpu_v1) {
            Some((path, mount)) => {
                let levels = levels(&mount, path);
                let quota = open_first(&levels, "cpu.cfs_quota_us");
                group.cpu = quota
                    .zip(open_first(&levels, "cpu.cfs_period_us"))
                    .map(|(quota, period)| QuotaFiles::V1(quota, period));
                group.cpu_stat = open_first(&levels, "cpu.stat");
            }
            None => {
                if let Some(path) = v2 {
                    let levels = levels(root, path);
                    group.cpu = open_first(&levels, "cpu.max").map(QuotaFiles::V2);
                    group.cpu_stat = open_first(&levels, "cpu.stat");
                }
            }
        }
        group
    }

    pub(super) fn read(&self) -> GroupFigures {
        let throttling = FileText::<1024>::read(self.cpu_stat.as_ref());
        let stat = |name| parse_value(throttling.as_str(), name);
        let micros = stat("throttled_usec").map(Duration::from_micros);
        let pressure = FileText::<256>::read(self.pressure.as_ref());
        GroupFigures {
            memory_limit: self.memory.as_ref().and_then(|(limit, _)| read_limit(limit)),
            memory_used: self.memory.as_ref().and_then(|(_, used)| read_number(used.as_ref()?)),
            memory_pressure: parse_average(pressure.as_str()),
            cpu_limit: self.cpu.as_ref().and_then(QuotaFiles::cores),
            throttled: micros.or_else(|| stat("throttled_time").map(Duration::from_nanos)),
            throttled_periods: stat("nr_throttled"),
        }
    }
}

impl QuotaFiles {
    fn cores(&self) -> Option<f64> {
        let (quota, period) = match self {
            QuotaFiles::V2(file) => {
                let text = FileText::<64>::read(Some(file));
                let (quota, period) = text.as_str().trim().split_once(' ')?;
                (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
            }
            QuotaFiles::V1(quota, period) => (read_number(quota)?, read_number(period)?),
        };
        (period > 0).then(|| quota as f64 / period as f64)
    }
}

/// Returns the path of a controller's group, by its name among `ID:NAME,NAME:PATH`; version 2 has
/// no name.
fn path_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        names.split(',').any(|name| name == controller).then_some(path)
    })
}

/// Returns a group and those around it, innermost first. In a container the path may be one of the
/// host's, which isn't there; then the mount itself is the group.
fn levels(mount: &Path, path: &str) -> Vec<PathBuf> {
    let own = mount.join(path.trim_start_matches('/'));
    let levels = own.ancestors().take_while(|level| level.starts_with(mount));
    levels.filter(|level| level.is_dir()).map(Path::to_owned).collect()
}

/// Returns the limit and the use of the level whose limit is the lowest; without any limit, of the
/// innermost.
fn find_lowest(levels: &[PathBuf], [limit, used]: [&str; 2]) -> Option<(File, Option<File>)> {
    let found =
        levels.iter().filter_map(|level| Some((level, File::open(level.join(limit)).ok()?)));
    let (level, limit) = found.min_by_key(|(_, file)| read_limit(file).unwrap_or(u64::MAX))?;
    Some((limit, File::open(level.join(used)).ok()))
}

/// Returns the file of this name in the innermost level that has it.
fn open_first(levels: &[PathBuf], name: &str) -> Option<File> {
    levels.iter().find_map(|level| File::open(level.join(name)).ok())
}

fn read_limit(file: &File) -> Option<u64> {
    read_number(file).filter(|&limit| limit < NO_LIMIT)
}

/// Returns the number that a file holds; `None` for `max` and `-1`.
fn read_number(file: &File) -> Option<u64> {
    FileText::<64>::read(Some(file)).as_str().trim().parse().ok()
}

/// Returns the number after a name, of lines `NAME NUMBER`.
fn parse_value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Returns the average over ten seconds of `some avg10=1.23 avg60=… avg300=… total=…`.
fn parse_average(pressure: &str) -> Option<f64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct GroupTree(PathBuf);

    impl GroupTree {
        fn new(name: &str, files: &[(&str, &str)]) -> GroupTree {
            let root =
                std::env::temp_dir().join(format!("profilez-cgroup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            GroupTree(root)
        }

        fn figures(&self, groups: &str) -> GroupFigures {
            ControlGroup::open_below(&self.0, groups).read()
        }
    }

    impl Drop for GroupTree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_2_takes_the_lowest_limit_on_the_way_up() {
        let tree = GroupTree::new(
            "v2",
            &[
                ("cgroup.controllers", "cpu memory\n"),
                ("shop/memory.max", "1048576\n"),
                ("shop/memory.current", "7000\n"),
                ("shop/api/memory.max", "max\n"),
                ("shop/api/memory.current", "5000\n"),
                ("shop/api/memory.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n"),
                ("shop/api/cpu.max", "150000 100000\n"),
                ("shop/api/cpu.stat", "usage_usec 1\nnr_throttled 3\nthrottled_usec 2500\n"),
            ],
        );
        let expected = GroupFigures {
            memory_limit: Some(1 << 20),
            memory_used: Some(7000),
            memory_pressure: Some(1.5),
            cpu_limit: Some(1.5),
            throttled: Some(Duration::from_micros(2500)),
            throttled_periods: Some(3),
        };
        assert_eq!(tree.figures("0::/shop/api\n"), expected);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let tree = GroupTree::new(
            "none",
            &[("memory.max", "max\n"), ("memory.current", "5\n"), ("cpu.max", "max 100000\n")],
        );
        // A path of the host's that a container does not see.
        let figures = tree.figures("0::/kubepods/pod1/abc\n");
        assert_eq!(figures, GroupFigures { memory_used: Some(5), ..GroupFigures::default() });
        assert_eq!(tree.figures(""), GroupFigures::default());
        assert_eq!(tree.figures("nonsense\n1:cpuset:/\n"), GroupFigures::default());
    }

    #[test]
    fn version_1_has_a_tree_for_each_controller() {
        let tree = GroupTree::new(
            "v1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/a/memory.limit_in_bytes", "4096\n"),
                ("memory/docker/a/memory.usage_in_bytes", "1024\n"),
                ("cpu,cpuacct/docker/a/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n"),
                (
                    "cpu,cpuacct/docker/a/cpu.stat",
                    "nr_periods 0\nnr_throttled 1\nthrottled_time 5\n",
                ),
            ],
        );
        let groups = "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/docker/a\n";
        let expected = GroupFigures {
            memory_limit: Some(4096),
            memory_used: Some(1024),
            throttled: Some(Duration::from_nanos(5)),
            throttled_periods: Some(1),
            ..GroupFigures::default()
        };
        assert_eq!(tree.figures(groups), expected);
    }
}
