//! Debian's OpenSSH server, started once for all tests of this program: at three addresses in network namespaces where the
//! machine allows it, else at three ports of the loopback interface. Which of the two it is, is printed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Servers that run until this program ends, whatever ends it.
pub struct Servers {
    pub folder: PathBuf,
    /// Where this program is reached by hosts.
    pub here: IpAddr,
    /// An address of the same network that nobody has.
    pub nobody: String,
    pub hosts: Vec<Server>,
    /// Its end lets the clean-up begin.
    _cleaner: Child,
}

/// One server: `h0`, `h1` and `h2` are hosts like any other, `full` has a full disk, `odd` an old C library, and under the name `foreign` another processor.
pub struct Server {
    pub name: &'static str,
    pub address: String,
    pub port: u16,
    /// The folder in which it keeps programs.
    pub cache: PathBuf,
}

const NAMES: [&str; 5] = ["h0", "h1", "h2", "full", "odd"];

/// The servers, started by the first who asks.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(start)
}

fn run(command: &str) -> Result<(), String> {
    let done = Command::new("sh").args(["-ec", command]).stdin(Stdio::null()).output().unwrap();
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
    }
}

fn is_root() -> bool {
    // SAFETY: geteuid only answers.
    unsafe { libc::geteuid() == 0 }
}

/// A process that waits for the end of this one and then runs `command`.
fn cleaner(command: &str) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("sh")
        .args(["-c", &format!("read end; {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Three namespaces that a bridge of this machine links, or why there are none.
fn namespaces(name: &str, network: &str) -> Result<(), String> {
    if !is_root() {
        return Err("this is not the administrator".into());
    }
    let mut commands =
        format!("ip link add {name} type bridge\nip addr add {network}.254/24 dev {name}\nip link set {name} up\n");
    for host in 0..3 {
        commands += &format!(
            "ip netns add {name}-{host}\nip link add {name}v{host} type veth peer name eth0 netns {name}-{host}\n\
             ip link set {name}v{host} master {name} up\nip -n {name}-{host} addr add {network}.{}/24 dev eth0\n\
             ip -n {name}-{host} link set eth0 up\nip -n {name}-{host} link set lo up\n",
            host + 1
        );
    }
    run(&commands)
}

fn remove_namespaces(name: &str) -> String {
    format!("for host in 0 1 2; do ip netns del {name}-$host; done; ip link del {name}; ")
}

fn start() -> Servers {
    let sshd =
        ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let sshd =
        sshd.expect("the tests of parties over SSH need OpenSSH's server: scripts/test installs it (openssh-server)");
    let folder = tempfile::Builder::new().prefix("cryptgpu-ssh-").tempdir().unwrap().keep();
    let pid = std::process::id();
    let (name, network) = (format!("cg{}", pid % 1_000_000), format!("10.{}.{}", 64 + pid / 256 % 128, pid % 256));
    let linked = namespaces(&name, &network);
    let setting = match &linked {
        Ok(()) => format!("three addresses in network namespaces ({network}.1 to .3)"),
        Err(why) => format!("three ports of the loopback interface ({why})"),
    };
    // The harness keeps what tests print with `println!`.
    let _ = writeln!(std::io::stderr(), "tests over SSH: OpenSSH servers at {setting}");
    let mut clean = if linked.is_ok() { remove_namespaces(&name) } else { String::new() };
    if linked.is_err() && is_root() {
        // What was made before it failed.
        let _ = run(&remove_namespaces(&name));
    }
    for key in ["host", "other", "user", "wrong"] {
        run(&format!("ssh-keygen -q -t ed25519 -N '' -C {key} -f {}/{key}", folder.display())).unwrap();
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
    if is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let hosts = NAMES.iter().enumerate().map(|(at, name_of)| {
        let (address, inside) = match &linked {
            Ok(()) => (format!("{network}.{}", at % 3 + 1), format!("ip netns exec {name}-{} ", at % 3)),
            Err(_) => ("127.0.0.1".to_owned(), String::new()),
        };
        let port = if linked.is_ok() { 2200 + at as u16 } else { free_port() };
        (Server { name: name_of, address, port, cache: folder.join(name_of) }, inside)
    });
    let hosts: Vec<_> = hosts.collect();
    for (server, inside) in &hosts {
        fs::create_dir(&server.cache).unwrap();
        let limit = prepare(server, &mut clean);
        let config = folder.join(format!("sshd-{}", server.name));
        fs::write(&config, sshd_config(server, &folder)).unwrap();
        let log = fs::File::create(folder.join(format!("log-{}", server.name))).unwrap();
        let command = format!("{limit}exec {inside}{sshd} -D -e -f {}", config.display());
        #[allow(clippy::zombie_processes, reason = "it outlives this call; the cleaner ends it")]
        let child = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        clean = format!("kill {}; {clean}", child.id());
    }
    let cleaner = cleaner(&format!("{clean} sleep 1; rm -rf {}", folder.display()));
    let hosts: Vec<Server> = hosts.into_iter().map(|(server, _)| server).collect();
    hosts.iter().for_each(|server| wait_for(server, &folder));
    let (here, nobody) = match &linked {
        Ok(()) => (format!("{network}.254"), format!("{network}.77")),
        Err(_) => ("127.0.0.1".to_owned(), "127.0.0.1".to_owned()),
    };
    Servers { folder, here: here.parse().unwrap(), nobody, hosts, _cleaner: cleaner }
}

/// What makes a host special; what comes before its server is started.
fn prepare(server: &Server, clean: &mut String) -> String {
    let cache = server.cache.display();
    match server.name {
        "full" => match run(&format!("mount -t tmpfs -o size=1m tmpfs {cache}")) {
            Ok(()) => {
                *clean += &format!("umount {cache}; ");
                String::new()
            }
            // No file may be larger than 512 KiB.
            Err(_) => "ulimit -f 1024; ".to_owned(),
        },
        "odd" => {
            fs::write(server.cache.join("getconf"), "#!/bin/sh\necho glibc 2.17\n").unwrap();
            // Its processor is what the client says.
            let uname = "#!/bin/sh\nPATH=/usr/bin:/bin\n[ \"$1$LC_PROCESSOR\" = -m ] && exec uname -m\n\
                         [ \"$1\" = -m ] && echo \"$LC_PROCESSOR\" || uname \"$@\"\n";
            fs::write(server.cache.join("uname"), uname).unwrap();
            run(&format!("chmod +x {cache}/getconf {cache}/uname")).unwrap();
            String::new()
        }
        _ => String::new(),
    }
}

fn sshd_config(server: &Server, folder: &Path) -> String {
    let folder = folder.display();
    let path = match server.name {
        "odd" => format!(" PATH={}:/usr/local/bin:/usr/bin:/bin\nAcceptEnv LC_PROCESSOR", server.cache.display()),
        _ => String::new(),
    };
    format!(
        "ListenAddress {}:{}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nPidFile none\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n\
         AllowTcpForwarding no\nAllowStreamLocalForwarding no\nSetEnv XDG_CACHE_HOME={} XDG_CONFIG_HOME={folder}/config{path}\n",
        server.address,
        server.port,
        server.cache.display()
    )
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(server: &Server, folder: &Path) {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((server.address.as_str(), server.port)).is_err() {
        let log = fs::read_to_string(folder.join(format!("log-{}", server.name))).unwrap_or_default();
        assert!(Instant::now() < until, "the SSH server {} does not start: {log}", server.name);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder for one test, with an SSH configuration of its own, and so with names that nobody else's processes have.
pub struct Place {
    pub folder: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let servers = servers();
        let folder = servers.folder.join(format!("test-{name}"));
        fs::create_dir(&folder).unwrap();
        let place = Place { folder };
        let key = fs::read_to_string(servers.folder.join("host.pub")).unwrap();
        let other = fs::read_to_string(servers.folder.join("other.pub")).unwrap();
        let (mut config, mut known, mut changed) = (String::new(), String::new(), String::new());
        let mut entry = |name: &str, address: &str, port: u16, key: &str, known: &str| {
            config += &format!(
                "Host {name}\nHostName {address}\nPort {port}\nIdentityFile {}/{key}\nIdentitiesOnly yes\n\
                 UserKnownHostsFile {}/{known}\nGlobalKnownHostsFile /dev/null\n\n",
                servers.folder.display(),
                place.folder.display()
            );
        };
        for server in &servers.hosts {
            known += &format!("[{}]:{} {key}", server.address, server.port);
            changed += &format!("[{}]:{} {other}", server.address, server.port);
            entry(server.name, &server.address, server.port, "user", "known");
        }
        let first = &servers.hosts[0];
        entry("wrong-key", &first.address, first.port, "wrong", "known");
        entry("changed", &first.address, first.port, "user", "changed");
        entry("unknown", &first.address, first.port, "user", "empty");
        let odd = &servers.hosts[4];
        entry("foreign", &odd.address, odd.port, "user\nSetEnv LC_PROCESSOR=sparc64", "known");
        entry("down", &servers.nobody, 9, "user", "known");
        fs::write(place.folder.join("ssh_config"), config).unwrap();
        fs::write(place.folder.join("known"), known).unwrap();
        fs::write(place.folder.join("changed"), changed).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Adds a host to the SSH configuration.
    pub fn add_host(&self, name: &str, address: &str, port: u16) {
        let config = self.path("ssh_config");
        let before = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("Host {name}\nHostName {address}\nPort {port}\n\n{before}")).unwrap();
    }

    /// A program under a name of this test's own.
    pub fn program(&self, program: &str) -> PathBuf {
        let path = self.path("program");
        if !path.exists() {
            std::os::unix::fs::symlink(program, &path).unwrap();
        }
        path
    }

    /// What still runs of this test: SSH clients, scripts and parties name the folder in their arguments.
    pub fn left_over(&self) -> Vec<String> {
        let folder = self.folder.to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let line = fs::read(path.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(folder).then(|| format!("{}: {line}", path.display()))
        });
        processes.collect()
    }

    /// Waits until nothing runs any more.
    pub fn assert_nothing_left(&self, within: Duration) {
        let until = Instant::now() + within;
        while !self.left_over().is_empty() {
            assert!(Instant::now() < until, "left over: {:#?}", self.left_over());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
