# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a configtest says: every wrong value and every contradiction is refused with a message that
names what would be right, and what the examples show is accepted."""

import os
import re
import shutil
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
MODULE = os.path.abspath(os.environ.get("SC_MODULE",
                                        os.path.join(TREE, "out", "mod_session_cluster.so")))
HTTPD = shutil.which("apache2") or shutil.which("httpd") or "/usr/sbin/apache2"
MODULES = subprocess.run([shutil.which("apxs") or shutil.which("apxs2") or "apxs", "-q",
                          "LIBEXECDIR"], capture_output=True, text=True, check=True).stdout.strip()

MODULE_LINE = f"LoadModule session_cluster_module {MODULE}\n"


def load(*names):
    return "".join(f"<IfModule !mod_{n}.c>\n  LoadModule {n}_module {MODULES}/mod_{n}.so\n"
                   "</IfModule>\n" for n in names)


SESSION = load("session")
PROXY = load("proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("config")
    for folder in ("run", "logs", "htdocs"):
        (path / folder).mkdir()
    return path


@pytest.fixture
def configtest(root):
    """Run a configtest over these lines; exit code and everything that was said."""
    def run(lines, modules=None):
        text = (f'ServerRoot "{root}"\nServerName localhost\nListen 127.0.0.1:18080\n'
                f'DefaultRuntimeDir "{root}/run"\nPidFile "{root}/run/pid"\n'
                f'ErrorLog "{root}/logs/error.log"\nDocumentRoot "{root}/htdocs"\n')
        text += load("mpm_event", "unixd", "authz_core", "authz_host", "headers", "alias")
        text += SESSION + MODULE_LINE if modules is None else modules
        conf = root / "httpd.conf"
        conf.write_text(text + lines + "\n")
        done = subprocess.run([HTTPD, "-t", "-d", str(root), "-f", str(conf)], timeout=30,
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    return run


# ---- one directive -------------------------------------------------------------------------------

ROUTE = "SessionClusterRoute n1\n"
STATIC = (ROUTE + "SessionClusterMembership static\nSessionClusterMember 127.0.0.1:4001\n"
          "SessionClusterReceiver address=127.0.0.1 port=4000\n")
DNS = (ROUTE + "SessionClusterMembership dns name=localhost port=4000\n"
       "SessionClusterReceiver address=127.0.0.1 port=4000\n")
NAMED = (ROUTE + "SessionClusterMembership static\nSessionClusterMember n1.example.org:4000\n"
         "SessionClusterMember n2.example.org:4000\nSessionClusterReceiver address=127.0.0.1\n")
SOCACHE = load("socache_redis", "socache_memcache", "socache_shmcb")
SECRET = "SessionClusterSecret exec:/bin/echo 0123456789abcdef\n"
LONG = "x" * 64
KEY = "00112233445566778899AABBCCDDEEFF"
ENCRYPT = f"SessionClusterInterceptor Encrypt encryptionKey={KEY} "

WRONG = [
    # route
    ("SessionClusterRoute n.1", r"1 to 63 letters, digits, '-' and '_', not \"n\.1\""),
    ("SessionClusterRoute n;1", r"letters, digits"),
    ("SessionClusterRoute \"\"", r"takes one argument"),
    ("SessionClusterRoute " + LONG, r"1 to 63"),
    ("SessionClusterRotateId " + "n" * 1025, r"names of attributes .*1 to 1024 bytes"),
    ("SessionClusterRotateId On Off", r"either On or Off, once"),
    ("SessionClusterRotateId On login", r"either On or Off, once"),
    ("SessionClusterRotateId grace=5", r"either On or Off, once, or 1 to 32 names"),
    ("SessionClusterRotateId " + " ".join(f"a{i}" for i in range(33)), r"1 to 32 names"),
    ("SessionClusterRotateId On grace=61", r"grace=0 to 60 seconds, not \"61\""),
    ("SessionClusterRotateId On grace=-1", r"grace=0 to 60 seconds"),
    ("SessionClusterRotateId On grace=5s", r"grace=0 to 60 seconds"),
    ("SessionClusterRotateId On grace=", r"grace=0 to 60 seconds"),
    ("SessionClusterRole proxy", r"node or balancer, not \"proxy\""),
    # Tomcats
    ("SessionClusterTomcat", r"SC0141: .*SessionClusterRole balancer"),
    ("SessionClusterTomcat on", r"wants key=value, not \"on\""),
    ("SessionClusterTomcat group=228.0.0.4", r"knows address, port, .*replyPort; not \"group\""),
    ("SessionClusterTomcat address=10.0.0.1", r"address wants a multicast address"),
    ("SessionClusterTomcat port=0", r"port wants a number from 1 to 65535"),
    ("SessionClusterTomcat port=1 port=2", r"port is given twice"),
    ("SessionClusterTomcat ttl=3", r"has no ttl: nothing is sent to the group"),
    ("SessionClusterTomcat member=10.0.0.1", r"member wants host:port.*not \"10\.0\.0\.1\""),
    ("SessionClusterTomcat member=10.0.0.1:4000:", r"host:port:route, the route being 1 to 63"),
    ("SessionClusterTomcat member=10.0.0.1:4000:a.b", r"host:port:route, the route being"),
    ("SessionClusterTomcat member=::1:4000", r"member wants"),
    ("SessionClusterTomcat member=h:1 member=H:1:x", r"member H:1 is given twice"),
    ("SessionClusterTomcat member=h:1:x member=h:2:x", r"route x belongs to h:1 already"),
    ("SessionClusterTomcat " + " ".join(f"member=h:{i}" for i in range(1, 51)) +
     "\nSessionClusterTomcat " + " ".join(f"member=h:{i}" for i in range(51, 66)),
     r"at most 64 members"),
    ("SessionClusterTomcat map=", r"map wants 1 to 120 visible characters"),
    ("SessionClusterTomcat map=" + "m" * 121, r"map wants 1 to 120"),
    ("SessionClusterTomcat map=a map=a", r"map a is given twice"),
    ("SessionClusterTomcat " + " ".join(f"map=m{i}" for i in range(9)), r"at most 8 maps"),
    ("SessionClusterTomcat maxAnswer=1K", r"maxAnswer wants bytes from 65536"),
    ("SessionClusterTomcat replyAddress=0.0.0.0", r"replyAddress wants a numeric address"),
    ("SessionClusterTomcat replyPort=80", r"replyPort wants a number from 1024"),
    # membership
    ("SessionClusterMembership", r"multicast, static or dns"),
    ("SessionClusterMembership gossip", r"multicast, static or dns.*\"gossip\""),
    ("SessionClusterMembership dns name=a,b", r"name wants a host name that DNS knows"),
    ("SessionClusterMembership dns name=", r"name wants a host name"),
    ("SessionClusterMembership dns name=" + "n" * 254, r"at most 253 bytes"),
    ("SessionClusterMembership dns name=x port=0", r"port wants a number from 1 to 65535"),
    ("SessionClusterMembership dns name=x refresh=50", r"milliseconds from 100 to 3600000"),
    ("SessionClusterMembership dns bind=127.0.0.1", r"has no bind: .*address="),
    ("SessionClusterMembership dns expirationTime=5000", r"no expirationTime: .*dropTime="),
    ("SessionClusterMembership dns color=red", r"knows frequency.*refresh; not \"color\""),
    ("SessionClusterMembership multicast foreign=maybe", r"refuse or accept, not \"maybe\""),
    ("SessionClusterMembership static foreign=", r"refuse or accept"),
    ("SessionClusterMembership static\nSessionClusterMembership multicast", r"given twice"),
    ("SessionClusterMembership multicast address=10.0.0.1", r"224\.0\.0\.0 to 239\.255\.255\.255"),
    ("SessionClusterMembership multicast address=fe80::1", r"or IPv6 \(ff\.\.::\)"),
    ("SessionClusterMembership multicast port=0", r"port wants a number from 1 to 65535"),
    ("SessionClusterMembership multicast port=65536", r"1 to 65535, not \"65536\""),
    ("SessionClusterMembership multicast port=4x", r"1 to 65535, not \"4x\""),
    ("SessionClusterMembership multicast port=", r"1 to 65535, not \"\""),
    ("SessionClusterMembership multicast frequency=1", r"milliseconds from 50 to 60000"),
    ("SessionClusterMembership multicast dropTime=99999999999999999999", r"milliseconds from 100"),
    ("SessionClusterMembership multicast bind=eth0", r"numeric address of this machine"),
    ("SessionClusterMembership multicast ttl=256", r"-1 to 255"),
    ("SessionClusterMembership multicast ttl=-2", r"-1 to 255"),
    ("SessionClusterMembership multicast domain=" + LONG, r"at most 63 bytes"),
    ("SessionClusterMembership multicast nonsense", r"key=value, not \"nonsense\""),
    ("SessionClusterMembership multicast =1", r"key=value"),
    ("SessionClusterMembership multicast color=red", r"knows address, port.*not \"color\""),
    ("SessionClusterMembership multicast port=1 PORT=2", r"port is given twice"),
    ("SessionClusterMembership multicast soTimeout=500", r"has no soTimeout: .*never blocks"),
    ("SessionClusterMembership multicast recoveryEnabled=maybe", r"true or false"),
    ("SessionClusterMembership multicast recoveryCounter=0", r"a number from 1 to 10000"),
    ("SessionClusterMembership multicast recoverySleepTime=1", r"milliseconds from 100"),
    ("SessionClusterMembership multicast localLoopbackDisabled=1", r"true or false"),
    ("SessionClusterMembership static pingInterval=1000", r"has no pingInterval: frequency="),
    ("SessionClusterMembership static rpcTimeout=3000", r"has no rpcTimeout"),
    ("SessionClusterMembership static address=228.0.0.4", r"SessionClusterMember host:port"),
    ("SessionClusterMembership static bind=127.0.0.1", r"SessionClusterReceiver address="),
    ("SessionClusterMembership multicast bind=fe80::1 address=ff15::1",
     r"bind wants .*not link-local.*name of an interface, not \"fe80::1\""),
    ("SessionClusterMembership multicast bind=::ffff:10.0.0.1 address=ff15::1",
     r"SC0132: .*bind=10\.0\.0\.1"),
    ("SessionClusterMembership multicast mcastDropTime=3000",
     r"has no mcastDropTime: it is called dropTime here"),
    ("SessionClusterMembership multicast mcastPort=1", r"has no mcastPort: it is called port here"),
    ("SessionClusterMembership static payload=x", r"has no payload: .*SessionClusterAnnounce"),
    ("SessionClusterMembership dns payload=x", r"has no payload: "),
    ("SessionClusterMembership static soTimeout=500", r"has no soTimeout: .*never blocks"),
    ("SessionClusterMembership static recoveryEnabled=true", r"no recoveryEnabled: .*no group"),
    ("SessionClusterMembership dns recoveryCounter=10", r"has no recoveryCounter: .*no group"),
    ("SessionClusterMembership dns recoverySleepTime=10", r"no recoverySleepTime: .*no group"),
    ("SessionClusterMembership static localLoopbackDisabled=true", r"sends no multicast"),
    ("SessionClusterMembership static name=x", r"has no name: see SessionClusterMembership dns"),
    ("SessionClusterMembership multicast refresh=500", r"see SessionClusterMembership dns"),
    ("SessionClusterMembership multicast pingInterval=500", r"no pingInterval: frequency="),
    ("SessionClusterMembership dns pingInterval=500", r"has no pingInterval: frequency="),
    ("SessionClusterMembership dns membershipProviderClassName=dns",
     r"no membershipProviderClassName: the word dns"),
    ("SessionClusterMembership kubernetes",
     r"dns \(name= of a headless service.*not \"kubernetes\""),
    ("SessionClusterMembership cloud namespace=x", r"dns \(name= of a headless service"),
    # members
    ("SessionClusterMember h:1 domain=x", r"has no domain: .*SessionClusterMembership domain="),
    ("SessionClusterMember h:1 uniqueId={0}", r"has no uniqueId: .*StaticMembership"),
    ("SessionClusterMember h:1 securePort=1", r"has no securePort: it has no effect"),
    ("SessionClusterMember h:1 host=x", r"has no host: it is written host:port"),
    ("SessionClusterMember " + "h" * 254 + ":1", r"at most 253 bytes"),
    ("SessionClusterMember [::ffff:10.0.0.1]:1\nSessionClusterMember 10.0.0.1:1", r"given twice"),
    ("SessionClusterMember [2001:DB8::1]:1\nSessionClusterMember [2001:db8:0:0::1]:1",
     r"given twice"),
    ("SessionClusterMember", r"host:port"),
    ("SessionClusterMember host", r"host:port.*not \"host\""),
    ("SessionClusterMember :4000", r"host:port"),
    ("SessionClusterMember host:", r"host:port"),
    ("SessionClusterMember host:0", r"host:port"),
    ("SessionClusterMember host:70000", r"host:port"),
    ("SessionClusterMember ::1:4000", r"brackets: \[::1\]:4000"),
    ("SessionClusterMember [::1:4000", r"brackets"),
    ("SessionClusterMember [::g]:4000", r"brackets"),
    ("SessionClusterMember []:4000", r"brackets"),
    ("SessionClusterMember http://host:4000", r"host:port"),
    ("SessionClusterMember h:4000 route=a.b", r"route wants.*letters, digits"),
    ("SessionClusterMember h:4000 weight=1", r"knows route=; not \"weight\""),
    ("SessionClusterMember h:4000 n1", r"key=value"),
    ("SessionClusterMember h:4000\nSessionClusterMember H:4000", r"given twice"),
    ("SessionClusterMember h:1 route=a\nSessionClusterMember h:2 route=a",
     r"route a belongs to h:1 already; routes are unique"),
    ("\n".join(f"SessionClusterMember h:{i}" for i in range(1, 66)), r"at most 64 members"),
    # receiver, sender
    ("SessionClusterReceiver address=myhost", r"\"auto\" or a numeric address"),
    ("SessionClusterReceiver address=fe80::1", r"that the other members can connect to"),
    ("SessionClusterReceiver advertiseAddress=0.0.0.0", r"advertiseAddress wants a numeric address"),
    ("SessionClusterReceiver advertiseAddress=auto", r"advertiseAddress wants a numeric address"),
    ("SessionClusterReceiver advertisePort=0", r"advertisePort wants a number from 1 to 65535"),
    ("SessionClusterReceiver address=224.0.0.1", r"numeric address of this machine"),
    ("SessionClusterReceiver port=-1", r"port wants a number from 1 to 65535"),
    ("SessionClusterReceiver autoBind=0", r"1 to 1000"),
    ("SessionClusterReceiver maxConnections=1", r"4 to 400"),
    ("SessionClusterReceiver maxConnections=401", r"a number from 4 to 400"),
    ("SessionClusterReceiver maxTasks=100", r"has no maxTasks: .*no threads"),
    ("SessionClusterReceiver minTasks=10", r"has no minTasks: .*no threads"),
    ("SessionClusterReceiver daemon=true", r"has no daemon: .*no threads"),
    ("SessionClusterReceiver bind=10.0.0.1", r"has no bind: address="),
    ("SessionClusterReceiver host=h", r"has no host: advertiseAddress="),
    ("SessionClusterReceiver tcpListenPort=4000", r"has no tcpListenPort: it is called port here"),
    ("SessionClusterSender limit=25", r"has no limit: one connection per member"),
    ("SessionClusterReceiver maxFrame=1K", r"bytes from 65536"),
    ("SessionClusterReceiver maxFrame=1KB", r"bytes from 65536"),
    ("SessionClusterReceiver maxThreads=6", r"has no maxThreads: .*no threads"),
    ("SessionClusterReceiver selectorTimeout=100", r"has no selectorTimeout: .*never blocks"),
    ("SessionClusterReceiver udpPort=53", r"udpPort wants a number from 1024 to 65535"),
    ("SessionClusterReceiver tcpNoDelay=1", r"tcpNoDelay wants true or false"),
    ("SessionClusterReceiver soTrafficClass=256", r"a number from 0 to 255"),
    ("SessionClusterReceiver rxBufSize=1", r"rxBufSize wants bytes from 2048"),
    ("SessionClusterReceiver soLingerOn=true", r"has no soLingerOn: .*kernel's business"),
    ("SessionClusterReceiver ooBInline=true", r"has no ooBInline: .*no urgent data"),
    ("SessionClusterReceiver soReuseAddress=true", r"has no soReuseAddress: it is always set"),
    ("SessionClusterReceiver maxIdleTime=60000", r"has no maxIdleTime: .*no threads"),
    ("SessionClusterReceiver useBufferPool=true", r"no Java buffers"),
    ("SessionClusterReceiver 4000", r"key=value"),
    ("SessionClusterSender timeout=5", r"milliseconds from 10"),
    ("SessionClusterSender maxRetryAttempts=-1", r"0 to 100"),
    ("SessionClusterSender maxQueueSize=2G", r"to 2146435072"),
    ("SessionClusterSender poolSize=25", r"has no poolSize: one connection per member"),
    ("SessionClusterSender keepAliveTime=-2", r"milliseconds \(-1: any\) from -1"),
    ("SessionClusterSender keepAliveCount=many", r"frames \(-1: any\) from -1"),
    ("SessionClusterSender throwOnFailedAck=true", r"counts as not delivered"),
    ("SessionClusterSender directBuffer=true", r"no Java buffers"),
    ("SessionClusterSender soLingerTime=3", r"kernel's business"),
    # send options
    ("SessionClusterSendOptions", r"2, 4, 6, 8, 10, 12 or 14"),
    ("SessionClusterSendOptions 0", r"12 or 14.*nobody would wait"),
    ("SessionClusterSendOptions 1", r"12 or 14.*nobody would wait"),
    ("SessionClusterSendOptions byte", r"12 or 14.*nobody would wait"),
    ("SessionClusterSendOptions -2", r"no other bits"),
    ("SessionClusterSendOptions secure,sync", r"does nothing with it"),
    ("SessionClusterSendOptions udp", r"TCP only"),
    ("SessionClusterSendOptions 70", r"TCP only"),
    ("SessionClusterSendOptions multicast,sync", r"lost without a word"),
    ("SessionClusterSendOptions 262", r"4, 6, 8, 10.*no other bits"),
    ("SessionClusterSendOptions fast", r"synchronized_ack, use_ack"),
    ("SessionClusterSendOptions sync,,fast", r"not \"sync,,fast\""),
    ("SessionClusterSendOptions 6 timeout=1", r"timeout wants milliseconds from 10 to 60000"),
    ("SessionClusterSendOptions 6 onTimeout=wait", r"onTimeout wants serve or fail"),
    ("SessionClusterSendOptions 6 wait=1", r"knows timeout and onTimeout; not \"wait\""),
    ("SessionClusterSendOptions 6 serve", r"key=value"),
    # manager
    ("SessionClusterManager", r"delta, backup or store, then key=value"),
    ("SessionClusterManager persistent",
     r"delta, backup or store, then key=value, not \"persistent\""),
    ("SessionClusterManager store", r"SC1000: .*provider=redis:127\.0\.0\.1:6379"),
    ("SessionClusterManager store provider=", r"name:arguments of a socache provider"),
    ("SessionClusterManager store provider=:h", r"name:arguments of a socache provider"),
    ("SessionClusterManager store provider=redis:h:1",
     r"SC1002: .*no such socache provider is loaded \(loaded: .*LoadModule socache_NAME_module"),
    ("SessionClusterManager store provider=" + "x" * 600, r"at most 511 bytes"),
    ("SessionClusterManager store prefix=a:b", r"letters, digits, - and _"),
    ("SessionClusterManager store prefix=", r"letters, digits, - and _"),
    ("SessionClusterManager store prefix=123456789012345", r"at most 14 bytes"),
    ("SessionClusterManager store timeout=10", r"milliseconds from 50 to 60000"),
    ("SessionClusterManager store retryInterval=1", r"milliseconds from 50 to 10000"),
    ("SessionClusterManager store onUnreachable=404", r"503 or empty, not \"404\""),
    ("SessionClusterManager store touchInterval=0", r"seconds from 1 to 3600"),
    ("SessionClusterManager store lookAgain=10001", r"milliseconds \(0: never\) from 0 to 10000"),
    ("SessionClusterManager store tombstoneTime=1", r"seconds from 10"),
    ("SessionClusterManager store backups=1", r"no backups: .*no node holds copies"),
    ("SessionClusterManager store color=red", r"knows provider, prefix.*tombstoneTime; not"),
    ("SessionClusterManager delta expireSessionsOnShutdown=maybe", r"true or false"),
    ("SessionClusterManager delta stateTransferTimeout=0", r"seconds from 1 to 3600"),
    ("SessionClusterManager delta blockSize=1", r"bytes from 4096"),
    ("SessionClusterManager delta touchInterval=1", r"milliseconds from 100"),
    ("SessionClusterManager delta fetchTimeout=0", r"milliseconds from 10"),
    ("SessionClusterManager delta tombstoneTime=1", r"seconds from 10"),
    ("SessionClusterManager delta digestInterval=-1", r"seconds \(0: never\) from 0 to 3600"),
    ("SessionClusterManager delta digestInterval=3601", r"from 0 to 3600, not \"3601\""),
    ("SessionClusterManager delta sendAllSessionsSize=1000", r"blockSize= in bytes"),
    ("SessionClusterManager delta maxActiveSessions=-1", r"SessionClusterMemory"),
    ("SessionClusterManager delta notifyContainerListenersOnReplication=true", r"no container"),
    ("SessionClusterManager delta notifyListenersOnReplication=2", r"true"),
    ("SessionClusterManager delta backups=1", r"no backups: .*see SessionClusterManager backup"),
    ("SessionClusterManager delta leaveTime=1", r"no leaveTime: .*SessionClusterManager backup"),
    ("SessionClusterManager delta color=red",
     r"knows expireSessionsOnShutdown.*digestInterval; not \"color\""),
    ("SessionClusterManager backup backups=0", r"backups wants a number from 1 to 4, not \"0\""),
    ("SessionClusterManager backup backups=5", r"from 1 to 4, not \"5\""),
    ("SessionClusterManager backup backups=", r"from 1 to 4, not \"\""),
    ("SessionClusterManager backup 2", r"key=value, not \"2\""),
    ("SessionClusterManager backup backups=1 Backups=2", r"backups is given twice"),
    ("SessionClusterManager backup touchInterval=500 touchInterval=600",
     r"touchInterval is given twice"),
    ("SessionClusterManager backup select=random", r"rendezvous or roundrobin, not \"random\""),
    ("SessionClusterManager backup select=round", r"rendezvous or roundrobin"),
    ("SessionClusterManager backup select=", r"rendezvous or roundrobin"),
    ("SessionClusterManager backup holdBackups=0", r"true or false, not \"0\""),
    ("SessionClusterManager backup copyRate=-1", r"sessions per second.*from 0 to"),
    ("SessionClusterManager backup copyRate=10000001", r"sessions per second"),
    ("SessionClusterManager backup placeInterval=9", r"milliseconds from 10 to 10000"),
    ("SessionClusterManager backup placeInterval=10001", r"milliseconds from 10 to 10000"),
    ("SessionClusterManager backup leaveTime=601", r"seconds from 0 to 600"),
    ("SessionClusterManager backup fetchTimeout=0", r"milliseconds from 10"),
    ("SessionClusterManager backup tombstoneTime=1", r"seconds from 10"),
    ("SessionClusterManager backup digestInterval=1h", r"seconds \(0: never\) from 0"),
    ("SessionClusterManager backup color=red", r"knows backups, select.*digestInterval; not"),
    ("SessionClusterManager backup mapSendOptions=6",
     r"no mapSendOptions: .*SessionClusterSendOptions"),
    ("SessionClusterManager backup rpcTimeout=15000", r"no rpcTimeout: fetchTimeout="),
    ("SessionClusterManager backup accessTimeout=5000", r"no accessTimeout: .*dropTime="),
    ("SessionClusterManager backup terminateOnStartFailure=true",
     r"no terminateOnStartFailure: .*SessionClusterQuorum"),
    ("SessionClusterManager backup sessionAttributeNameFilter=x", r"all of it"),
    ("SessionClusterManager backup stateTimestampDrop=true", r"carries a stamp"),
    ("SessionClusterManager backup name=app", r"SessionClusterContext"),
    # interceptors
    ("SessionClusterInterceptor", r"a name, then key=value"),
    ("SessionClusterInterceptor Nonsense", r"TcpFailureDetector.*MessageDispatch|"
                                           r"MessageDispatch.*TcpFailureDetector"),
    ("SessionClusterInterceptor " + "N" * 32, r"no interceptor has a name as long"),
    ("SessionClusterInterceptor MessageDispatch x", r"key=value"),
    ("SessionClusterInterceptor MessageDispatch " + " ".join(f"a{i}=1" for i in range(9)),
     r"at most 8 attributes and optionFlag"),
    ("SessionClusterInterceptor MessageDispatch a=" + "v" * 192, r"too long"),
    ("SessionClusterInterceptor MessageDispatch alwaysSend=true alwaysSend=false",
     r"alwaysSend is given twice"),
    ("SessionClusterInterceptor TcpFailureDetector removeSuspectsTimeout=0", r"or -1: never"),
    ("SessionClusterInterceptor TcpFailureDetector color=red", r"connectTimeout"),
    ("SessionClusterInterceptor TcpFailureDetector connectTimeout=soon", r"connectTimeout"),
    ("SessionClusterInterceptor MessageDispatch\n" * 2, r"twice"),
    ("SessionClusterInterceptor Encrypt", r"encryptionKey must be 32, 48 or 64 hexadecimal digits"),
    (ENCRYPT + "encryptionAlgorithm=AES/ECB/PKCS5Padding", r"must be AES/GCM/NoPadding, or.*"
                                                           r"not \"AES/ECB/PKCS5Padding\""),
    (ENCRYPT + "providerName=SunJCE", r"no providerName: OpenSSL's libcrypto"),
    (ENCRYPT + "optionFlag=256", r"optionFlag must be 0: all messages are encrypted"),
    (ENCRYPT + "replayWindowTime=1h", r"milliseconds from 1 to 3600000"),
    ("SessionClusterInterceptor TcpFailureDetector\n" + ENCRYPT,
     r"TcpFailureDetector must not stand above \(before\) Encrypt: the detector's probe"),
    ("SessionClusterInterceptor TcpFailureDetector\nSessionClusterInterceptor Fragmentation",
     r"must not stand above \(before\) Fragmentation"),
    ("SessionClusterInterceptor TcpFailureDetector\nSessionClusterInterceptor Order",
     r"must not stand above \(before\) Order"),
    ("SessionClusterInterceptor TcpFailureDetector\nSessionClusterInterceptor TwoPhaseCommit",
     r"must not stand above \(before\) TwoPhaseCommit"),
    ("SessionClusterInterceptor Gzip optionFlag=2", r"128 or higher"),
    ("SessionClusterInterceptor Gzip compressionMinSize=-1", r"bytes from 0"),
    ("SessionClusterInterceptor Fragmentation maxSize=1", r"bytes from 16"),
    ("SessionClusterInterceptor Order maxQueue=0", r"messages from 1"),
    ("SessionClusterInterceptor TwoPhaseCommit deepclone=true", r"no deepclone"),
    # members that announce themselves
    ("SessionClusterAnnounce", r"scheme://host\[:port\]\[/path\].*not \"\""),
    ("SessionClusterAnnounce 10.0.0.1:80", r"scheme://host"),
    ("SessionClusterAnnounce ftp://h", r"http, https, ajp, h2 or h2c"),
    ("SessionClusterAnnounce http://u:p@h", r"scheme://host"),
    ("SessionClusterAnnounce http://h/?a", r"scheme://host"),
    ("SessionClusterAnnounce http://h/", r"scheme://host"),
    ("SessionClusterAnnounce http://*.example.org", r"scheme://host"),
    ("SessionClusterAnnounce http://169.254.169.254", r"scheme://host"),
    ("SessionClusterAnnounce http://h/" + "p" * 120, r"at most 127 bytes"),
    ("SessionClusterAnnounce http://h weight=0", r"weight wants a number from 1 to 100"),
    ("SessionClusterAnnounce http://h weight=101", r"weight wants a number from 1 to 100"),
    ("SessionClusterAnnounce http://h lbset=100", r"lbset wants a number from 0 to 99"),
    ("SessionClusterAnnounce http://h route=n2", r"no route: SessionClusterRoute"),
    ("SessionClusterAnnounce http://h loadfactor=2", r"called weight"),
    ("SessionClusterAnnounce http://h\nSessionClusterAnnounce http://i", r"given twice"),
    ("SessionClusterMembers", r"balancer://name"),
    ("SessionClusterMembers shop", r"balancer://name, as in <Proxy balancer://name>"),
    ("SessionClusterMembers balancer://", r"balancer://name"),
    ("SessionClusterMembers balancer://shop/app", r"balancer://name"),
    ("SessionClusterMembers balancer://" + "s" * 90, r"balancer://name"),
    ("SessionClusterMembers balancer://a\nSessionClusterMembers balancer://A", r"given twice"),
    ("SessionClusterMembers balancer://a keep=0", r"keep wants seconds from 1 to 86400"),
    ("SessionClusterMembers balancer://a route=" + "r" * 64, r"at most 63 bytes"),
    ("SessionClusterMembers balancer://a connectiontimeout=100ms", r"seconds from 1 to 3600"),
    ("SessionClusterMembers balancer://a growth=3", r"ProxySet growth="),
    ("SessionClusterMembers balancer://a color=red", r"knows route, url, keep"),
    # secret, quorum, sizes
    ("SessionClusterSecret file:/no/such/key", r"No such file"),
    ("SessionClusterSecret exec:/no/such/key", r"is no program"),
    ("SessionClusterSecret swordfish", r"wants file:path"),
    ("SessionClusterQuorum 0", r"On, Off or a number of nodes from 1 to 64"),
    ("SessionClusterQuorum 65", r"from 1 to 64"),
    ("SessionClusterQuorum most", r"On, Off or a number"),
    ("SessionClusterMemory 1000", r"bytes from 1M to 256G, not \"1000\""),
    ("SessionClusterMemory 64MB", r"1M to 256G"),
    ("SessionClusterMemory -64M", r"1M to 256G"),
    ("SessionClusterMemory 1T", r"1M to 256G"),
    ("SessionClusterMemory 999999999999G", r"1M to 256G"),
    ("SessionClusterMemory 18446744073709551616", r"1M to 256G"),
    ("SessionClusterMaxSessionSize 1", r"256 to 16M"),
    ("SessionClusterMaxSessionSize 17M", r"256 to 16M"),
    ("SessionClusterBalancerMethod bysession", r"requests without a session"),
    ("SessionClusterBalancerMethod bymood", r"LoadModule lbmethod_bymood_module"),
    ("SessionClusterBalancerMethod", r"then key=value"),
    ("SessionClusterBalancerMethod maxFailures=3", r"such as byrequests, then key=value"),
    ("SessionClusterBalancerMethod byrequests maxFailures=17", r"from 0 to 16"),
    ("SessionClusterBalancerMethod byrequests failureTime=0", r"from 1 to 3600"),
    ("SessionClusterBalancerMethod byrequests rankedDelimiter=..", r"off, or the one character"),
    ("SessionClusterBalancerMethod byrequests rankedDelimiter=x", r"not a letter or digit"),
    ("SessionClusterBalancerMethod byrequests rankedDelimiter=", r"off, or the one character"),
    ("SessionClusterBalancerMethod byrequests abandonGone=maybe", r"abandonGone wants"),
    ("SessionClusterBalancerMethod byrequests sticky=1", r"maxFailures"),
    ("SessionClusterBackupHint maybe", r"must be On or Off"),
    ("SessionClusterStatusActions maybe", r"must be On or Off"),
    # cookie
    ("SessionClusterCookieName", r"a cookie's name"),
    ("SessionClusterCookieName a=b", r"a cookie's name"),
    ("SessionClusterCookieName a;b", r"a cookie's name"),
    ("SessionClusterCookieName a,b", r"a cookie's name"),
    ("SessionClusterCookieName \"a b\"", r"a cookie's name"),
    ("SessionClusterCookieName " + "n" * 129, r"a cookie's name"),
    ("SessionClusterCookieName SID Path=/;;HttpOnly", r"one ';' between"),
    ("SessionClusterCookieName SID ;Path=/", r"one ';' between"),
    ("SessionClusterCookieName SID Path=app", r"a Path that begins with '/'"),
    ("SessionClusterCookieName SID Path", r"a Path that begins with '/'"),
    ("SessionClusterCookieName SID Max-Age=10", r"SessionMaxAge decides"),
    ("SessionClusterCookieName SID Path=/; expires=never", r"SessionMaxAge decides"),
    ("SessionClusterCookieName SID SameSite=Maybe", r"SameSite=Strict, SameSite=Lax or"),
    ("SessionClusterCookieName SID SameSite=None", r"Secure together with SameSite=None"),
    ("SessionClusterCookieName SID Secure=yes", r"without a value"),
    ("SessionClusterCookieName SID Path=/\"; HttpOnly", r"no quotes"),
    ("SessionClusterCookieName SID \"Path=/\" HttpOnly", r"one pair of quotes"),
    ("SessionClusterCookieName __Host-SID Path=/", r"for a __Host- cookie"),
    ("SessionClusterCookieName __Host-SID Path=/; Secure; Domain=example.org", r"__Host- cookie"),
    ("SessionClusterCookieName __Secure-SID Path=/", r"Secure for a __Secure- cookie"),
    # other things per directory
    ("SessionClusterContext \"\"", r"takes one argument"),
    ("SessionClusterContext \"a b\"", r"visible characters"),
    ("SessionClusterContext " + "c" * 128, r"1 to 127"),
    ("SessionClusterMaxInactive 0", r"seconds from 1"),
    ("SessionClusterMaxInactive -1", r"seconds from 1"),
    ("SessionClusterMaxInactive 30m", r"seconds from 1"),
    ("SessionClusterFilter (", r"regular expressions"),
    ("SessionClusterRotateId", r"either On or Off, once, or 1 to 32 names"),
    ("SessionClusterRotateId \"\"", r"either On or Off|names of attributes"),
]


@pytest.mark.parametrize("lines,message", WRONG, ids=[w[0][:60] for w in WRONG])
def test_wrong_value(configtest, lines, message):
    code, said = configtest(lines)
    assert code != 0, said
    assert re.search(message, said, re.S), said


@pytest.mark.parametrize("lines", [
    f"SessionClusterInterceptor Encrypt encryptionKey={KEY}0",
    f"SessionClusterInterceptor Encrypt encryptionKey={KEY}XX{KEY[2:]}",
    f"SessionClusterInterceptor Encrypt encryptionKey={KEY * 3}",
    f"SessionClusterInterceptor Encrypt encryptionkey={KEY}",
    f"SessionClusterInterceptor Order encryptionKey={KEY}",
    ENCRYPT + "optionFlag=1", ENCRYPT + f"encryptionKey={KEY}", ENCRYPT + "encryptionAlgorithm=DES",
])
def test_a_key_is_not_repeated(configtest, lines):
    code, said = configtest(lines)
    assert code != 0, said
    assert KEY not in said, said


GLOBAL_ONLY = ["Route n1", "Role node", "Membership static", "Member h:1", "Receiver port=1",
               "Sender timeout=100", "SendOptions 6", "Manager delta", "Interceptor MessageDispatch",
               "Secret none", "Quorum 2", "Memory 64M", "MaxSessionSize 1K",
               "BalancerMethod byrequests", "Announce http://h", "Members balancer://a",
               "Tomcat map=m"]


@pytest.mark.parametrize("line", GLOBAL_ONLY)
@pytest.mark.parametrize("place", ["VirtualHost *:80", "Location /"])
def test_engine_is_configured_globally(configtest, line, place):
    code, said = configtest(f"<{place}>\nSessionCluster{line}\n</{place.split()[0]}>")
    assert code != 0
    assert re.search(rf"SessionCluster{line.split()[0]} (cannot occur within|not allowed in)",
                     said), said


# ---- the whole -----------------------------------------------------------------------------------

CONTRADICTIONS = [
    ("SessionClusterMember 127.0.0.1:4001", r"SC0101: .*SessionClusterMembership static"),
    ("SessionClusterRole balancer", r"SC0102: .*SessionClusterMembership"),
    ("SessionClusterTomcat map=m", r"SC0141: .*SessionClusterRole balancer"),
    ("SessionClusterRole balancer\nSessionClusterTomcat dropTime=1999", r"SC0142: .*frequency=1000"),
    ("SessionClusterRole balancer\nSessionClusterTomcat bind=::1", r"SC0143: .*IPv6"),
    (STATIC.replace(ROUTE, ""), r"SC0103: .*SessionClusterRoute"),
    (ROUTE + "SessionClusterMembership static", r"SC0104: .*SessionClusterMember host:port"),
    (STATIC.replace("static", "multicast bind=127.0.0.1"), r"SC0105: .*Membership static"),
    (STATIC.replace("static", "dns name=localhost port=4000"), r"SC0105: .*addresses of the name"),
    (DNS.replace(" port=4000", ""), r"SC0131: .*name= and port="),
    (DNS.replace("name=localhost", ""), r"SC0131: .*name= and port="),
    (DNS + "SessionClusterQuorum On", r"SC0115: .*give the number"),
    (ROUTE + "SessionClusterMembership multicast address=ff15::1 bind=127.0.0.1",
     r"SC0132: .*bind=127\.0\.0\.1 and address=ff15::1"),
    (ROUTE + "SessionClusterMembership multicast bind=::1", r"SC0132: .*IPv6"),
    (STATIC.replace("address=127.0.0.1", "address=0.0.0.0") + "SessionClusterSecret none",
     r"SC0133: .*other members can connect to; add advertiseAddress="),
    (STATIC.replace("address=127.0.0.1", "address=::"), r"SC0133: .*SC0109: "),
    (STATIC.replace("address=127.0.0.1", "address=0.0.0.0 advertiseAddress=127.0.0.1"),
     r"SC0109: .*0\.0\.0\.0"),
    (STATIC.replace("static", "static frequency=1000 dropTime=1999"),
     r"SC0106: .*dropTime=1999.*twice frequency=1000"),
    (STATIC.replace("port=4000", "port=65500 autoBind=100"), r"SC0107: .*port 65535"),
    (STATIC.replace("address=127.0.0.1", "address=192.0.2.1"),
     r"SC0109: .*192\.0\.2\.1.*SessionClusterSecret none.*address=127\.0\.0\.1"),
    (STATIC.replace("address=127.0.0.1", "address=2001:db8::1"), r"SC0109: .*Secret none"),
    (ROUTE + "SessionClusterMembership multicast bind=192.0.2.1", r"SC0109: .*Secret none"),
    ("SessionClusterMemory 1M\nSessionClusterMaxSessionSize 512K", r"SC0110: .*at least 4 times"),
    ("SessionClusterReceiver maxFrame=100K\nSessionClusterMaxSessionSize 64K",
     r"SC0111: .*maxFrame=102400 must be at least twice"),
    (SOCACHE + "SessionClusterManager store provider=redis:127.0.0.1:1,127.0.0.1:2",
     r"SC1003: .*one server"),
    (SOCACHE + "SessionClusterManager store provider=redis",
     r"SC1004: .*List of server names required"),
    (SOCACHE + "SessionClusterManager store provider=shmcb:x(10)", r"SC1004: .*size has to be"),
    (SOCACHE + STATIC + "SessionClusterQuorum 2\n"
     "SessionClusterManager store provider=redis:127.0.0.1:1", r"SC1001: SessionClusterQuorum"),
    ("SessionClusterReceiver maxFrame=1M\nSessionClusterManager delta blockSize=1M",
     r"SC0112: .*twice.*blockSize=1048576"),
    ("SessionClusterSender maxQueueSize=64K", r"SC0113: .*maxQueueSize=65536 must be at least"),
    ("SessionClusterQuorum 2", r"SC0114: .*take it out"),
    (ROUTE + "SessionClusterMembership multicast bind=127.0.0.1\nSessionClusterQuorum On",
     r"SC0115: .*give the number"),
    (STATIC + "SessionClusterQuorum 3", r"SC0116: .*there are 2 nodes"),
    # this node may be one of them
    (NAMED + "SessionClusterQuorum On", r"SC0140: .*n1\.example\.org:4000 may be this node.*route="),
    (NAMED.replace("n1.example.org", "127.0.0.7").replace("n2.example.org", "127.0.0.8") +
     "SessionClusterReceiver address=auto\nSessionClusterQuorum On", r"SC0140: .*127\.0\.0\.8:4000"),
    (STATIC + "SessionClusterMember 127.0.0.1:4000\nSessionClusterReceiver address=auto\n"
     "SessionClusterQuorum 3", r"SC0116: .*there are 2 nodes"),
    (STATIC + "SessionClusterMember [::ffff:127.0.0.1]:4000\nSessionClusterQuorum 3",
     r"SC0116: .*there are 2 nodes"),
    # members of dns are all on one port
    (DNS.replace("port=4000\n", "port=4001\n", 1), r"SC0144: .*dns port=4001, but.* port=4000"),
    (DNS.replace("port=4000\n", "port=4001\n", 1) +
     "SessionClusterReceiver advertiseAddress=192.0.2.1 advertisePort=4002",
     r"SC0144: .*advertisePort=4002"),
    (STATIC.replace("address=127.0.0.1", "address=::ffff:0.0.0.0"), r"SC0133: .*address=0\.0\.0\.0"),
    # a member without a route among others that have one is a balancer
    (STATIC.replace("4001", "4001 route=n2") + "SessionClusterMember 127.0.0.1:4009\n"
     "SessionClusterQuorum 3", r"SC0116: .*there are 2 nodes"),
    (STATIC + "SessionClusterRole balancer\nSessionClusterCookieName SID",
     r"SC0117: .*SessionClusterCookieName"),
    ("SessionClusterCookieName SID\n" + "".join(
        f"<VirtualHost *:80>\nServerName v{i}.example.org\n</VirtualHost>\n" for i in range(64)),
     r"SC0119: there are 65 session spaces.*at most 64"),
    ("".join(f"<Location /{i}>\nSessionClusterContext c{i}\n</Location>\n" for i in range(65)),
     r"SC0119: "),
    ("<VirtualHost *:80>\nServerName " + "a" * 60 + "." + "b" * 60 + "." + "c" * 10 +
     "\nSessionClusterCookieName SID\n</VirtualHost>", r"SC0118: .*SessionClusterContext"),
    ("SessionClusterSendOptions 8 onTimeout=fail", r"SC0121: .*onTimeout=fail cannot happen"),
    (SECRET + STATIC.replace("static", "static foreign=accept"),
     r"SC0128: .*foreign member has no secret"),
    (SECRET + STATIC.replace("port=4000", "port=4000 udpPort=4100"), r"SC0129: .*not sealed"),
    ("SessionClusterRole balancer\n" + STATIC.replace(ROUTE, "") +
     "SessionClusterAnnounce http://127.0.0.1", r"SC0134: .*take it out"),
    ("SessionClusterAnnounce http://127.0.0.1", r"SC0135: .*nobody to tell"),
    ("SessionClusterMembers balancer://a", r"SC0136: .*would know no node"),
    (STATIC.replace("address=127.0.0.1", "address=192.0.2.1") + "SessionClusterSecret none\n"
     "SessionClusterMembers balancer://a", r"SC0137: .*192\.0\.2\.1.*one SessionClusterSecret"),
    (STATIC + "SessionClusterMembers balancer://a", r"SC0714: .*proxy_balancer_module first"),
    (SECRET + DNS + "SessionClusterInterceptor StaticMembership member=127.0.0.1:4002,uniqueId=" +
     "0" * 32, r"SC0120: .*uniqueId= is for a Tomcat"),
]


@pytest.mark.parametrize("lines,message", CONTRADICTIONS, ids=[c[1][:6] for c in CONTRADICTIONS])
def test_contradiction(configtest, lines, message):
    code, said = configtest(lines)
    assert code != 0, said
    assert re.search(message, said, re.S), said


def test_all_contradictions_at_once(configtest):
    _, said = configtest("SessionClusterMembership static\nSessionClusterSender maxQueueSize=64K")
    assert {"SC0103", "SC0104", "SC0113"} <= set(re.findall(r"SC\d{4}", said))


SHOP = "<Proxy balancer://shop>\nProxySet growth=4\n</Proxy>\n"
MEMBERS = STATIC.replace(ROUTE, "SessionClusterRole balancer\n") + \
    "SessionClusterMembers balancer://shop\n"


@pytest.mark.parametrize("lines,modules,message", [
    (MEMBERS, PROXY + MODULE_LINE, r"SC0715: .*balancer://shop: there is no such balancer"),
    (MEMBERS + SHOP.replace("growth=4", "lbmethod=bysession"), PROXY + MODULE_LINE,
     r"SC0713: .*ProxySet growth=16"),
    (MEMBERS + SHOP, MODULE_LINE + PROXY,
     r"SC0714: .*move the LoadModule line of proxy_module before"),
    (MEMBERS + SHOP, PROXY + MODULE_LINE, None),
    (MEMBERS.replace("//shop", "//SHOP") + "<VirtualHost *:80>\n" + SHOP + "</VirtualHost>\n",
     PROXY + MODULE_LINE, None)])
def test_members_need_a_balancer(configtest, lines, modules, message):
    code, said = configtest(lines, modules=modules)
    assert (code != 0) == bool(message), said
    assert not message or re.search(message, said), said


def test_cookie_name_needs_mod_session(configtest):
    code, said = configtest("SessionClusterCookieName SID", modules=MODULE_LINE)
    assert code != 0 and "LoadModule session_module first" in said


def test_mod_session_has_to_come_first(configtest):
    code, said = configtest("SessionClusterCookieName SID", modules=MODULE_LINE + SESSION)
    assert code != 0
    assert "move the LoadModule line of session_module before" in said


@pytest.mark.parametrize("name", ["CookieName SID", "Context shop"])
def test_what_the_engine_must_know_is_not_for_htaccess(name):
    """.htaccess files are read by requests, when the engine runs already."""
    with open(os.path.join(TREE, "src", "httpd", "directives.c"), encoding="utf-8") as f:
        source = f.read()
    entry = re.search(rf'"SessionCluster{name.split()[0]}",\s*\w+,\s*NULL,\s*(\w+),', source)
    assert entry.group(1) == "FILES"


# ---- what is right -------------------------------------------------------------------------------

RIGHT = [
    "",
    "SessionClusterRole balancer\nSessionClusterTomcat",
    "SessionClusterRole balancer\nSessionClusterTomcat address=ff15::4 bind=::1 port=45564",
    "SessionClusterRole balancer\nSessionClusterTomcat member=h:1:r member=[::1]:2:s "
    "member=10.0.0.1:4000 MAP=localhost#/a-map map=/a-map replyPort=4100 replyAddress=127.0.0.1 "
    "domain=red interval=100 timeout=100 maxAnswer=1M\n"
    "SessionClusterTomcat frequency=50 dropTime=100 member=h:2",
    STATIC.replace(ROUTE, "SessionClusterRole balancer\n") + "SessionClusterTomcat map=m",
    "SessionClusterCookieName SID",
    "SessionClusterCookieName SID Path=/app; HttpOnly; SameSite=Lax;",
    'SessionClusterCookieName SID "Path=/app; Secure; SameSite=None"',
    "SessionClusterCookieName SID domain=example.org;path=/;Partitioned",
    "SessionClusterCookieName __Host-SID",
    "SessionClusterCookieName __Host-SID Secure; Path=/",
    STATIC,
    STATIC + "SessionClusterQuorum On",
    STATIC + "SessionClusterQuorum 2",
    STATIC.replace("address=127.0.0.1", "address=::ffff:127.0.0.1"),
    ROUTE + "SessionClusterMembership static\nSessionClusterReceiver address=::1\n"
    "SessionClusterMember [0:0::1]:4000\nSessionClusterMember [::1]:4001\nSessionClusterQuorum 2",
    NAMED.replace("n1.example.org:4000", "n1.example.org:4000 route=n1") + "SessionClusterQuorum On",
    NAMED.replace("n2.example.org:4000", "n2.example.org:4001 route=n2") + "SessionClusterQuorum 2",
    NAMED + "SessionClusterQuorum 2", NAMED.replace("n2.", "n" * 63 + "." + "n" * 100 + "."),
    DNS.replace("port=4000\n", "port=4001\n", 1) +
    "SessionClusterReceiver advertiseAddress=127.0.0.1 advertisePort=4001",
    DNS + "SessionClusterReceiver autoBind=7",
    "SessionClusterReceiver maxConnections=400",
    STATIC + "SessionClusterAnnounce HTTP://WWW.Example.org:80/App weight=100 lbset=99",
    STATIC + "SessionClusterAnnounce https://[2001:db8::1]:8443",
    STATIC + "SessionClusterAnnounce ajp://*",
    STATIC + "SessionClusterMember 127.0.0.1:4000\nSessionClusterQuorum 2",
    STATIC.replace("127.0.0.1:4001", "[::1]:4001 route=n2").replace("=127.0.0.1", "=::1"),
    STATIC.replace("address=127.0.0.1", "address=192.0.2.1") + "SessionClusterSecret none",
    STATIC.replace(ROUTE, "SessionClusterRole balancer\n"),
    STATIC + "SessionClusterInterceptor MessageDispatch\n"
    "SessionClusterInterceptor TcpFailureDetector connectTimeout=500",
    STATIC + "SessionClusterInterceptor Gzip compressionMinSize=100 optionFlag=512\n"
    "SessionClusterInterceptor Order expire=1 forwardExpired=false maxQueue=5 optionFlag=6\n"
    "SessionClusterInterceptor TwoPhaseCommit expire=1\n"
    "SessionClusterInterceptor Fragmentation maxSize=16 expire=3600000\n" +
    ENCRYPT + "encryptionAlgorithm=aes/cbc/pkcs5padding\nSessionClusterInterceptor MessageDispatch\n"
    "SessionClusterInterceptor TcpFailureDetector",
    "SessionClusterInterceptor TcpFailureDetector\nSessionClusterInterceptor Gzip",
    ROUTE + "SessionClusterMembership multicast bind=127.0.0.1\nSessionClusterQuorum 2",
    ROUTE + "sessionclustermembership MULTICAST BIND=127.0.0.1 DROPTIME=1000 domain=",
    "SessionClusterSendOptions synchronized_ack,use_ack timeout=500 onTimeout=fail",
    "SessionClusterSendOptions sync", "SessionClusterSendOptions async,use_ack",
    "SessionClusterSendOptions 2 onTimeout=fail", "SessionClusterSendOptions use_ack,byte",
    "SessionClusterSendOptions 4", "SessionClusterSendOptions 6", "SessionClusterSendOptions 8",
    "SessionClusterSendOptions 10", "SessionClusterSendOptions 12", "SessionClusterSendOptions 14",
    "SessionClusterSendOptions 7", "SessionClusterSendOptions byte,sync,use_ack",
    DNS, DNS.replace("port=4000\n", "port=4000 refresh=1000 domain=x foreign=accept\n", 1),
    DNS + "SessionClusterQuorum 2", DNS.replace("address=127.0.0.1 ", "address=auto "),
    ROUTE + "SessionClusterMembership multicast address=ff15::77 bind=::1 ttl=3 foreign=accept "
    "localLoopbackDisabled=true recoveryEnabled=false recoveryCounter=3 recoverySleepTime=100\n"
    "SessionClusterReceiver address=::1",
    STATIC.replace("address=127.0.0.1", "address=0.0.0.0 advertiseAddress=192.0.2.1 "
                   "advertisePort=4711") + "SessionClusterSecret none",
    "SessionClusterReceiver udpPort=4000 tcpNoDelay=false soKeepAlive=off soTrafficClass=28 "
    "rxBufSize=64K txBufSize=32K udpRxBufSize=64K udpTxBufSize=64K",
    "SessionClusterSender keepAliveCount=100 keepAliveTime=60000 soTrafficClass=16 rxBufSize=64K",
    "SessionClusterSender keepAliveCount=-1 keepAliveTime=-1 tcpNoDelay=true soKeepAlive=true",
    "SessionClusterMemory 1m\nSessionClusterMaxSessionSize 1k",
    "SessionClusterManager delta expireSessionsOnShutdown=true stateTransferTimeout=10",
    "SessionClusterManager delta digestInterval=0",
    "SessionClusterManager backup",
    SOCACHE + "SessionClusterManager store provider=redis:127.0.0.1:1",
    SOCACHE + "SessionClusterManager STORE Provider=redis:[::1]:1 prefix=a-b_c timeout=50 "
    "retryInterval=50 onUnreachable=Empty touchInterval=3600 lookAgain=0 tombstoneTime=86400",
    SOCACHE + STATIC + 'SessionClusterManager store "provider=shmcb:sessions(100000)"',
    SOCACHE + "SessionClusterManager store provider=shmcb",
    STATIC + "SessionClusterManager backup",
    STATIC + "SessionClusterMember 127.0.0.1:4002\nSessionClusterManager backup backups=2",
    # a balancer may share the line; a multicast group has as many nodes as come
    STATIC.replace(ROUTE, "SessionClusterRole balancer\n") + "SessionClusterManager backup backups=4",
    ROUTE + "SessionClusterMembership multicast bind=127.0.0.1\n"
    "SessionClusterManager backup backups=4",
    "SessionClusterManager BACKUP BACKUPS=4 select=RoundRobin holdBackups=off copyRate=0 "
    "placeInterval=10 leaveTime=0",
    "SessionClusterManager backup backups=1 select=rendezvous holdBackups=true copyRate=10000000 "
    "placeInterval=10000 leaveTime=600 expireSessionsOnShutdown=true stateTransferTimeout=10 "
    "blockSize=64K touchInterval=100 fetchTimeout=10 tombstoneTime=10 digestInterval=3600",
    # one context everywhere, so the names of the servers do not count
    "SessionClusterCookieName SID\nSessionClusterContext one\n" + "".join(
        f"<VirtualHost *:80>\nServerName v{i}.example.org\n</VirtualHost>\n" for i in range(70)),
    # the same context many times
    "SessionClusterCookieName SID\n" + "".join(
        f"<Location /{i}>\nSessionClusterContext one\n</Location>\n" for i in range(70)),
    "<Location /a>\nSessionClusterCookieName A\nSessionClusterRotateId login\n"
    "SessionClusterMaxInactive 60\nSessionClusterFilter \\.png$ ^/poll\n</Location>\n"
    "<Location /a/b>\nSessionClusterFilter none\nSessionClusterRotateId Off\n</Location>",
    "<Location /a>\nSessionClusterRotateId uid admin grace=0\n</Location>\n"
    "SessionClusterRotateId On grace=60",
]


@pytest.mark.parametrize("lines", RIGHT, ids=[r.strip()[-60:] or "nothing" for r in RIGHT])
def test_right(configtest, lines):
    code, said = configtest(lines)
    assert code == 0, said
    assert not re.search("SC01(?!25)", said)  # SC0125: said none, and gets a warning


def test_majority_does_not_count_balancers(configtest):
    lines = (STATIC.replace("4001", "4001 route=n2") + "SessionClusterMember 127.0.0.1:4002 route=n3\n"
             "SessionClusterMember 127.0.0.1:4009\nSessionClusterQuorum On")
    code, said = configtest(lines)
    assert code == 0, said
    assert re.search(r"SC0124: .*2 of 3 nodes; members without route= \(1\)", said), said


def test_majority_counts_nodes_without_routes(configtest):
    """A node may have to give its own, to know itself in the list."""
    lines = (STATIC + "SessionClusterMember 127.0.0.1:4002\nSessionClusterMember 127.0.0.9:1 route=n1\n"
             "SessionClusterQuorum 4")
    code, said = configtest(lines)
    assert code != 0 and re.search(r"SC0116: .*there are 3 nodes", said), said


@pytest.mark.parametrize("lines,nodes", [
    (STATIC + "SessionClusterManager backup backups=2", 1),
    (STATIC + "SessionClusterMember 127.0.0.1:4000\nSessionClusterManager backup backups=2", 1),
    (STATIC.replace("4001", "4001 route=n2") + "SessionClusterMember 127.0.0.1:4009\n"
     "SessionClusterManager backup backups=3", 1),
    (ROUTE + "SessionClusterMembership static\nSessionClusterMember 127.0.0.1:4000 route=n1\n"
     "SessionClusterReceiver address=127.0.0.1 port=4000\nSessionClusterManager backup", 0),
    (STATIC + "SessionClusterMember 127.0.0.1:4000\nSessionClusterReceiver address=auto\n"
     "SessionClusterManager backup backups=2", 1)],
    ids=["another", "itself in the list", "a balancer in the list", "nobody else", "itself by auto"])
def test_more_backups_than_nodes_is_a_warning(configtest, lines, nodes):
    code, said = configtest(lines)
    assert code == 0, said
    assert re.search(rf"SC0123: .*backups=\d cannot be reached: .*has {nodes};", said), said


def test_more_backups_than_nodes_perhaps(configtest):
    code, said = configtest(NAMED + "SessionClusterManager backup backups=2")
    assert code == 0, said
    assert re.search(r"SC0123: .*has 1 \(if n1\.example\.org:4000 is this one; route= would say\)",
                     said), said


def test_loads_without_mod_session(configtest):
    lines = STATIC.replace(ROUTE, "SessionClusterRole balancer\n")
    code, said = configtest(lines + "SessionClusterBalancerMethod byrequests",
                            modules=PROXY + MODULE_LINE)
    assert code == 0, said


# ---- examples ------------------------------------------------------------------------------------

def reference():
    with open(os.path.join(TREE, "conf", "session_cluster.conf"), encoding="utf-8") as f:
        return f.read()


def test_reference_is_silent(configtest):
    code, said = configtest(reference())
    assert code == 0, said


USER = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""


def some_secret(folder):
    file = folder / "secret"
    file.write_text("a-secret-for-a-test\n")
    file.chmod(0o600)
    return f"SessionClusterSecret file:{file}\n"


def deployer_folders(folder, text):
    """Other directories in the place of those in the text, made as they must be."""
    for path in sorted(set(re.findall(r"(?:Dir=|_DIR )(/[^\s$]+)", text))):
        own = folder / path.strip("/").replace("/", "-")
        own.mkdir()
        if os.geteuid() == 0:
            shutil.chown(own, "www-data", "www-data")
        text = text.replace(path, str(own))
    return text


REFERENCE = re.findall(r"^#(SessionCluster.*)$", reference(), re.M)


@pytest.mark.parametrize("line", REFERENCE)
def test_each_line_of_the_reference(configtest, tmp_path, line):
    """With what else it needs."""
    extra = ""
    kind = line.split()[0].replace("SessionCluster", "")
    if kind == "Secret":
        extra += STATIC
        for n, path in enumerate(re.findall(r":(/\S+)", line)):
            file = tmp_path / f"secret{n}"
            text = f"{n}-a-secret-for-a-test\n"
            file.write_text(f"#!/bin/sh\necho {text}" if "exec:" in line else text)
            file.chmod(0o700)
            line = line.replace(path, str(file))
    if kind == "Snapshot":
        line = line.replace("/var/lib/session-cluster", str(tmp_path))
        if os.geteuid() == 0:
            shutil.chown(tmp_path, "www-data", "www-data")
            extra += "User www-data\nGroup www-data\n"
    if kind in ("Membership", "Member", "Receiver", "Quorum", "Role"):
        extra += "SessionClusterSecret none\n"
        if kind != "Membership":
            extra += "SessionClusterMembership static\n"
        if kind in ("Receiver", "Quorum", "Role") or line.split()[1] == "static":
            extra += "SessionClusterMember 198.51.100.2:4000\n"
        extra += ROUTE
    if kind == "Tomcat":
        extra += "SessionClusterRole balancer\n"
    if kind == "Deployer":
        extra += STATIC + some_secret(tmp_path)
        line = deployer_folders(tmp_path, line)
    if "Manager store" in line:
        extra += SOCACHE
    if kind in ("Announce", "Members"):
        extra += STATIC
    if kind == "Members":
        code, said = configtest(extra + SHOP + line, modules=PROXY + MODULE_LINE)
        assert code == 0, said
        return
    if "StaticMembership" in line:
        extra += ROUTE + "SessionClusterMembership multicast bind=127.0.0.1 foreign=accept\n" \
            "SessionClusterInterceptor TcpFailureDetector\n"
    code, said = configtest(extra + (USER if kind == "Deployer" else "") + line)
    assert code == 0, said


def test_reference_knows_every_directive():
    with open(os.path.join(TREE, "src", "httpd", "directives.c"), encoding="utf-8") as f:
        names = set(re.findall(r'AP_INIT_\w+\("(SessionCluster\w+)"', f.read()))
    assert len(names) >= 19
    assert {line.split()[0] for line in REFERENCE} == names


@pytest.mark.parametrize("example,defines,modules", [
    ("node.conf.example", {}, SESSION + MODULE_LINE),
    ("node.conf.example", {"SC_ROUTE": "n2", "SC_ADDRESS": "127.0.0.2", "SC_PORT": "4711",
                           "SC_MEMBER2": "127.0.0.2:4711"}, SESSION + MODULE_LINE),
    ("node-backup.conf.example", {}, SESSION + MODULE_LINE),
    ("node-backup.conf.example", {"SC_ROUTE": "n5", "SC_PORT": "4005", "SC_RACK": "rack3"},
     SESSION + MODULE_LINE),
    ("node.conf.example", {"SC_ANNOUNCE": "http://*:8001"}, SESSION + MODULE_LINE),
    ("node-store.conf.example", {}, SESSION + load("socache_redis") + MODULE_LINE),
    ("node-store.conf.example", {"SC_STORE": "memcache:127.0.0.1:11211", "SC_UNREACHABLE": "empty"},
     SESSION + load("socache_memcache") + MODULE_LINE),
    ("balancer-members.conf.example", {}, PROXY + MODULE_LINE),
    ("balancer.conf.example", {}, PROXY + MODULE_LINE),
    ("balancer.conf.example", {"SC_PORT": "4712", "SC_BACKEND1": "http://127.0.0.1:9001"},
     PROXY + MODULE_LINE),
    ("balancer-tomcat.conf.example", {}, PROXY + MODULE_LINE),
    ("balancer-tomcat.conf.example", {"TC_HOST1": "127.0.0.4", "TC_BIND": "127.0.0.1"},
     PROXY + MODULE_LINE)])
def test_examples(configtest, example, defines, modules):
    lines = "".join(f"Define {k} {v}\n" for k, v in defines.items())
    code, said = configtest(lines + f'Include "{os.path.join(TREE, "conf", example)}"',
                            modules=modules)
    assert code == 0, said


@pytest.mark.parametrize("watch", [False, True])
def test_example_of_a_deployer(configtest, tmp_path, watch):
    with open(os.path.join(TREE, "conf", "deployer.conf.example"), encoding="utf-8") as f:
        text = deployer_folders(tmp_path, f.read())
    lines = "Define SC_WATCH true\n" if watch else ""
    code, said = configtest(STATIC + some_secret(tmp_path) + USER + lines + text)
    assert code == 0, said


def test_example_of_a_majority(configtest):
    """Its balancer does not count."""
    code, said = configtest(f'Include "{os.path.join(TREE, "conf", "node-backup.conf.example")}"')
    assert code == 0 and "3 of 5 nodes" in said, said


def test_load_file():
    with open(os.path.join(TREE, "conf", "session_cluster.load"), encoding="utf-8") as f:
        text = f.read()
    assert re.search(r"^# Depends: session$", text, re.M)
    assert len(re.findall(r"^LoadModule session_cluster_module \S+/mod_session_cluster\.so$", text,
                          re.M)) == 1
