/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file internal.h
 * @brief Private to room "deployer": the parts that the deployer's process is made of.
 *
 *   deployer.c   in the engine: carries messages to and from the process
 *   pair.c       in the engine: its end of the pair, birth and death of the process (pair.h)
 *   process.c    the process: its loop, its end of the socket pair
 *   farm.c       what the process does when: members, batches, beginning and end
 *   compare.c    comparing catalogues with members
 *   watch.c      looking into watchDir and taking files over
 *   fetch.c      getting files from members in blocks, and giving them
 *   landing.c    a file on its way into deployDir
 *   pace.c       how long to rest after a piece of work, so that sessions come first
 *   catalogue.c  which versions there are, and which one counts
 *   control.c    the catalogue on the disk
 *   message.c    what members say to each other
 *   command.c    what is run after a batch
 *   complain.c   what is said in the log, and how often
 *   name.c       names, and how they are resolved
 *
 * Calls go down this list. Everything from farm.c on takes time and members through sc_farm_env_t
 * and works on real directories; it may block on the disk, but not for members.
 */
#ifndef SC_DEPLOYER_INTERNAL_H
#define SC_DEPLOYER_INTERNAL_H

#include <sys/stat.h>
#include <sys/types.h>

#include <openssl/evp.h>

#include "sc_buf.h"
#include "sc_deployer.h"

#define SC_SHA_BYTES 32
/** Members that a farm knows at once. */
#define SC_FARM_PEERS SC_MEMBERS_MAX
/** Blocks that a node asks for before the first of them has come. */
#define SC_FARM_WINDOW 2
/** Blocks that are on their way to one member, and to all of them. */
#define SC_FARM_SERVED_EACH SC_FARM_WINDOW
#define SC_FARM_SERVED_ALL 16
/** Bytes of files that are read, hashed and written before messages are looked at again. */
#define SC_FARM_SLICE (1024 * 1024)
/** The same while sessions are written. */
#define SC_FARM_SMALL_SLICE (64 * 1024)

/* ---- name.c --------------------------------------------------------------------------------- */

/**
 * Open the directory that a name lies in, without following a link anywhere below the root.
 * @param make 1: make directories that are missing (0755)
 * @param base receives the last component, in name
 * @param fd receives a descriptor, to be closed
 * @return APR_SUCCESS; ENOENT; ENOTDIR or ELOOP: something else is in the way
 */
apr_status_t sc_deploy_parent(int root, const char *name, int make, const char **base, int *fd);
/** Open a regular file for reading. @param st may be NULL. @return APR_SUCCESS; EINVAL: none */
apr_status_t sc_deploy_open(int root, const char *name, int *fd, struct stat *st);
/** Remove a file, and the directories that become empty by that. Missing is good. */
apr_status_t sc_deploy_unlink(int root, const char *name);

/* ---- catalogue.c ---------------------------------------------------------------------------- */

typedef enum sc_deploy_kind_t {
    SC_DEPLOY_NONE = 0, /**< nothing is known */
    SC_DEPLOY_FILE,
    SC_DEPLOY_REMOVED
} sc_deploy_kind_t;

/** One version of a file. Of a removed one all but the stamp is 0. */
typedef struct sc_version_t {
    unsigned int kind; /**< sc_deploy_kind_t */
    unsigned int executable;
    apr_uint64_t size;
    sc_stamp_t stamp;
    unsigned char sha[SC_SHA_BYTES];
} sc_version_t;

/** By which a file is known again without reading it. All 0: none. */
typedef struct sc_file_id_t {
    apr_uint64_t ino;
    apr_uint64_t size;
    apr_int64_t mtime_ns;
    apr_int64_t ctime_ns;
} sc_file_id_t;

typedef struct sc_deploy_entry_t {
    char *name;
    sc_version_t have;    /**< what is in deployDir */
    sc_version_t want;    /**< kind NONE: nothing else is wanted */
    apr_uint32_t source;  /**< the member that has what is wanted */
    sc_file_id_t placed;  /**< the file in deployDir */
    unsigned int watched; /**< 1: watchDir has or had it */
    sc_file_id_t seen;    /**< the file there, as it was taken */
    unsigned char seen_sha[SC_SHA_BYTES];
    unsigned int seen_executable;
    /* not kept on the disk */
    sc_file_id_t found;     /**< as it was at the last look */
    unsigned int looks;     /**< looks in a row at which it was the same */
    unsigned int missing;   /**< looks in a row at which it was not there */
    unsigned int refused;   /**< 1: `found` was refused, and that has been told */
    unsigned int queued;    /**< 1: to be taken */
    apr_time_t rest_until;  /**< not to be taken before that: it could not be */
    unsigned int disagreed; /**< 1: it has been told that another watcher decides about it */
} sc_deploy_entry_t;

typedef struct sc_catalogue_t {
    sc_deploy_entry_t **at; /**< in order of their names */
    apr_size_t n;
    apr_size_t cap;
    apr_size_t files;   /**< with `have` a file */
    apr_size_t removed; /**< with `have` a removal */
    apr_size_t wanted;  /**< with a `want` */
    apr_uint64_t bytes; /**< of all files, those wanted included */
    apr_size_t max_removed;
    int sum_known;
    unsigned char sum[SC_SHA_BYTES];
} sc_catalogue_t;

void sc_catalogue_init(sc_catalogue_t *c, apr_size_t max_removed);
void sc_catalogue_free(sc_catalogue_t *c);
/** @return NULL: none */
sc_deploy_entry_t *sc_catalogue_find(const sc_catalogue_t *c, const char *name);
/** Find it or make it. @return NULL: out of memory */
sc_deploy_entry_t *sc_catalogue_get(sc_catalogue_t *c, const char *name);
/** Index of the first entry with a name behind this one. */
apr_size_t sc_catalogue_after(const sc_catalogue_t *c, const char *name);
/** What is in deployDir is another version now; a `want` that is not newer is forgotten. */
void sc_catalogue_have(sc_catalogue_t *c, sc_deploy_entry_t *e, const sc_version_t *v);
/** @param v NULL: nothing more is wanted */
void sc_catalogue_want(sc_catalogue_t *c, sc_deploy_entry_t *e, const sc_version_t *v,
                       apr_uint32_t source);
/** Drop entries that say nothing, and the oldest removals beyond the bound. */
void sc_catalogue_tidy(sc_catalogue_t *c);
/** Sum of all names and versions; equal catalogues have equal sums. */
const unsigned char *sc_catalogue_sum(sc_catalogue_t *c);
/** Whether two versions have the same content and mode. */
int sc_version_same(const sc_version_t *a, const sc_version_t *b);

/* ---- message.c ------------------------------------------------------------------------------ */

typedef enum sc_deploy_event_t {
    SC_DEPLOY_SUM = 1,   /**< sum of the sender's catalogue */
    SC_DEPLOY_ASK,       /**< the part of the catalogue behind a name is asked for */
    SC_DEPLOY_LIST,      /**< that part, or its beginning */
    SC_DEPLOY_ASK_BLOCK, /**< bytes of a file are asked for */
    SC_DEPLOY_BLOCK,     /**< those bytes */
    SC_DEPLOY_NO_BLOCK,  /**< the sender has not that version */
    SC_DEPLOY_HELLO /**< as SUM, of one who has just met the receiver and wants to hear its sum */
} sc_deploy_event_t;

/** A message that was read; pointers are into it. */
typedef struct sc_deploy_msg_t {
    unsigned int event;
    unsigned char sum[SC_SHA_BYTES];   /**< SUM: of the catalogue; blocks: of the file */
    char name[SC_DEPLOY_NAME_MAX + 1]; /**< ASK, LIST: behind which; "": from the beginning */
    unsigned int more;                 /**< LIST: 1: the catalogue goes on */
    sc_rd_t entries;                   /**< LIST: for sc_deploy_entry_get */
    apr_uint64_t offset;
    apr_uint64_t len;           /**< ASK_BLOCK: how many bytes */
    const unsigned char *bytes; /**< BLOCK: len of them */
} sc_deploy_msg_t;

/** @return APR_SUCCESS; APR_EINVAL: malformed, or of no deployer; APR_ENOTIMPL: of another version
 *  of this protocol */
apr_status_t sc_deploy_msg_get(sc_deploy_msg_t *m, const void *bytes, apr_size_t len);
/** The next entry of a LIST. @return APR_SUCCESS; APR_EOF: that was all; APR_EINVAL */
apr_status_t sc_deploy_entry_get(sc_rd_t *r, char name[SC_DEPLOY_NAME_MAX + 1], sc_version_t *v);

/** @param hello 1: HELLO */
void sc_deploy_put_sum(sc_buf_t *b, const unsigned char *sum, int hello);
void sc_deploy_put_ask(sc_buf_t *b, const char *after);
/** As many entries behind a name as fit into some bytes. */
void sc_deploy_put_list(sc_buf_t *b, const sc_catalogue_t *c, const char *after, apr_size_t max);
void sc_deploy_put_ask_block(sc_buf_t *b, const char *name, const unsigned char *sha,
                             apr_uint64_t offset, apr_uint64_t len);
void sc_deploy_put_block(sc_buf_t *b, const unsigned char *sha, apr_uint64_t offset,
                         const void *bytes, apr_size_t len);
void sc_deploy_put_no_block(sc_buf_t *b, const unsigned char *sha);

/* ---- landing.c ------------------------------------------------------------------------------ */

/** A file on its way: bytes are appended to a file in tempDir and hashed. */
typedef struct sc_landing_t {
    int temp_root;
    int fd; /**< -1: none is under way */
    char name[80];
    apr_uint64_t size;
    apr_uint64_t begun; /**< bytes of it that the disk was told to begin with */
    EVP_MD_CTX *hash;
} sc_landing_t;

/** @param name in tempDir @param resume 1: go on with what is there, at most max bytes of it */
apr_status_t sc_landing_open(sc_landing_t *l, int temp_root, const char *name, int resume,
                             apr_uint64_t max);
apr_status_t sc_landing_append(sc_landing_t *l, const void *bytes, apr_size_t len);
/** Checksum of all bytes; nothing can be appended any more. */
apr_status_t sc_landing_sum(sc_landing_t *l, unsigned char sha[SC_SHA_BYTES]);
/** Put it into deployDir under a name. The landing is over, whatever is returned. */
apr_status_t sc_landing_place(sc_landing_t *l, int deploy_root, const char *name, int executable,
                              sc_file_id_t *id);
/** @param keep 1: leave the file in tempDir */
void sc_landing_drop(sc_landing_t *l, int keep);
/** Remove what former landings have left in tempDir. */
void sc_landing_sweep(int temp_root);
/** Checksum of a file in deployDir. @return ENOENT, EINVAL: no regular file of that size */
apr_status_t sc_landing_check(int deploy_root, const char *name, const sc_version_t *v,
                              sc_file_id_t *id);
void sc_file_id(sc_file_id_t *id, const struct stat *st);

/* ---- control.c ------------------------------------------------------------------------------ */

/** What is kept besides the catalogue. */
typedef struct sc_control_t {
    apr_uint64_t hlc;
    apr_uint32_t tag;   /**< of this node, 0: none yet */
    unsigned int batch; /**< 1: something was placed or removed since the last batch ended */
} sc_control_t;

/** Write tempDir/catalogue, whole or not at all. */
apr_status_t sc_control_save(int temp_root, const sc_control_t *k, const sc_catalogue_t *c);
/** @return APR_SUCCESS; ENOENT: there is none; APR_EINVAL: it is damaged, and was set aside as
 *  catalogue.bad; else why it cannot be read. The catalogue is empty unless APR_SUCCESS. */
apr_status_t sc_control_load(int temp_root, sc_control_t *k, sc_catalogue_t *c);

/* ---- farm.c --------------------------------------------------------------------------------- */

/** What a farm counts; the same names, with deploy_ before them, are on the noticeboard. */
typedef struct sc_farm_counts_t {
    apr_uint64_t placed;    /**< files put into deployDir */
    apr_uint64_t removed;   /**< files removed from it */
    apr_uint64_t bytes_in;  /**< of blocks received */
    apr_uint64_t bytes_out; /**< of blocks sent */
    apr_uint64_t refused;   /**< names, files and messages refused */
    apr_uint64_t failed;    /**< files that could not be fetched or placed; tried again */
    apr_uint64_t conflicts; /**< files about which two watchers disagree */
    apr_uint64_t batches;   /**< batches that were completed here */
    apr_uint64_t commands;  /**< commands run after them */
    apr_uint64_t commands_failed;
    /* not counted but measured */
    apr_uint64_t files;       /**< in deployDir */
    apr_uint64_t total_bytes; /**< of these and of those still to come */
    apr_uint64_t waiting;     /**< files still to come */
    apr_uint64_t done_bytes;  /**< of the one that is being fetched */
    apr_uint64_t version;     /**< beginning of the catalogue's sum; 0: not known yet */
    apr_time_t batch_at;      /**< mono; 0: no batch in this process' life */
    apr_time_t command_at;    /**< mono; since when `command` is what it is */
    apr_uint32_t command;     /**< sc_command_end_t */
    apr_uint32_t command_code;
    apr_uint64_t blind; /**< 1: watchDir cannot be read */
    sc_board_way_t in;  /**< the file that is being fetched */
    sc_board_way_t
        out; /**< the one of which a block was given last; while blocks are on their way */
} sc_farm_counts_t;

typedef struct sc_farm_env_t {
    const sc_config_deployer_t *config;
    const sc_clock_t *clock;
    const sc_log_t *log;
    void *ctx;
    /** To a member. A block (bulk) counts until sc_farm_sent is called. */
    void (*send)(void *ctx, apr_uint32_t peer, int bulk, const void *bytes, apr_size_t len);
    /** A batch is complete and afterDeploy=graceful. */
    void (*restart)(void *ctx);
} sc_farm_env_t;

typedef struct sc_farm_peer_t {
    apr_uint32_t ref; /**< 0: free */
    char name[SC_MEMBER_NAME];
    int asked;                          /**< its catalogue is being read */
    int again;                          /**< and has changed meanwhile */
    apr_time_t deadline;                /**< of the next part */
    char after[SC_DEPLOY_NAME_MAX + 1]; /**< last name read */
    apr_size_t entries;                 /**< read so far */
    unsigned int serving;               /**< blocks on their way to it */
} sc_farm_peer_t;

/** A block that a member waits for. */
typedef struct sc_farm_ask_t {
    apr_uint32_t peer;
    char name[SC_DEPLOY_NAME_MAX + 1];
    unsigned char sha[SC_SHA_BYTES];
    apr_uint64_t offset;
    apr_uint64_t len;
} sc_farm_ask_t;

#define SC_FARM_ASKS (SC_FARM_PEERS * SC_FARM_WINDOW)
/** Twice the number of complaints that are remembered, so that each is made once. */
#define SC_FARM_TOLD 8192

typedef struct sc_farm_t {
    sc_farm_env_t env;
    int watch_root; /**< -1: does not watch, or the directory is not there */
    int deploy_root;
    int temp_root;
    int lock_fd; /**< keeps other servers out of tempDir */
    sc_control_t control;
    sc_catalogue_t cat;
    sc_farm_counts_t count;
    sc_farm_peer_t peer[SC_FARM_PEERS];
    int dirty; /**< the catalogue on the disk is old */
    apr_time_t save_due;
    int announce; /**< members do not know the newest sum */
    apr_time_t announce_due;
    apr_time_t repeat_due; /**< they are told again, in case they missed it */
    apr_time_t verify_due;
    apr_time_t sweep_due;
    apr_time_t batch_due;
    /* watch.c */
    apr_time_t scan_due;
    apr_size_t to_take;  /**< entries that are queued */
    apr_size_t take_at;  /**< where the next one is looked for */
    apr_time_t take_due; /**< nothing is taken before that */
    sc_deploy_entry_t *taking;
    sc_landing_t intake;
    int taking_fd;
    sc_file_id_t taking_id;
    int watch_lost; /**< it was told that watchDir cannot be read */
    /* fetch.c */
    sc_deploy_entry_t *fetching;
    apr_size_t fetch_at; /**< where the next one is looked for */
    sc_version_t fetch_version;
    apr_uint32_t fetch_from;
    sc_landing_t fetch;
    apr_uint64_t asked;   /**< bytes of it that were asked for */
    apr_time_t fetch_due; /**< the next block must have come */
    apr_time_t rate_due;  /**< nothing is asked for before that */
    apr_time_t served_at; /**< when a block was given last */
    sc_farm_ask_t asks[SC_FARM_ASKS];
    apr_size_t nasks;
    unsigned int serving;
    int serve_fd; /**< the file last read; -1: none */
    sc_deploy_entry_t *serve_entry;
    unsigned char serve_sha[SC_SHA_BYTES];
    /* command.c */
    char **command; /**< NULL: none */
    apr_pool_t *pool;
    pid_t command_pid; /**< 0: does not run */
    apr_time_t command_due;
    apr_uint64_t told[SC_FARM_TOLD]; /**< a hash table of their hashes, 0: free */
    apr_size_t ntold;
    unsigned int lines;     /**< complaints in the log since lines_since */
    unsigned int swallowed; /**< and such that were not written */
    apr_time_t lines_since;
    /* pace.c */
    int busy;              /**< sessions are written: rest after each piece of work */
    apr_time_t give_due;   /**< no block is given before that */
    apr_time_t given_at;   /**< the last one was */
    apr_size_t given;      /**< bytes of it */
    apr_time_t fetch_rest; /**< no block is asked for before that */
    apr_time_t take_rest;  /**< nothing more is taken before that */
    sc_buf_t out;
    unsigned char slice[SC_DEPLOY_BLOCK_MAX];
} sc_farm_t;

/** Open the directories and read the catalogue. What went wrong has been logged. @param pool as
 *  long as the farm, which lies in it */
apr_status_t sc_farm_create(sc_farm_t **f, const sc_farm_env_t *env, apr_pool_t *pool);
/** Save what is to be saved, close everything. */
void sc_farm_close(sc_farm_t *f);
void sc_farm_joined(sc_farm_t *f, apr_uint32_t peer, const char *name);
void sc_farm_left(sc_farm_t *f, apr_uint32_t peer);
void sc_farm_message(sc_farm_t *f, apr_uint32_t peer, const void *bytes, apr_size_t len);
/** A block has left for that member, or was lost. */
void sc_farm_sent(sc_farm_t *f, apr_uint32_t peer);
/** Sessions are written on this node (1), or not any more. */
void sc_farm_busy(sc_farm_t *f, int busy);
/** Do one piece of what is to be done. @return mono time of the next call; it may come earlier */
apr_time_t sc_farm_step(sc_farm_t *f);

/* for watch.c, fetch.c and command.c */
static inline apr_time_t sc_farm_now(const sc_farm_t *f)
{
    return sc_mono(f->env.clock);
}
sc_farm_peer_t *sc_farm_peer(sc_farm_t *f, apr_uint32_t ref);
/** A stamp above all that were seen. */
sc_stamp_t sc_farm_stamp(sc_farm_t *f);
/** deployDir has changed: the catalogue is saved and announced, and a batch ends after this. */
void sc_farm_changed(sc_farm_t *f);
/** The catalogue has changed, but not deployDir. */
void sc_farm_noted(sc_farm_t *f);
/** Whether a version may be taken. @return NULL, or the limit that it breaks */
const char *sc_farm_limit(const sc_farm_t *f, const sc_deploy_entry_t *e, apr_uint64_t size);
/** A name, file or version is not taken: counted, and said in the log, once for each.
 *  @param about number of the version or file that is meant; 0: the name itself */
void sc_farm_refuse(sc_farm_t *f, const char *name, apr_uint64_t about, const char *why);
/** Whether a member's catalogue is being read: decisions wait for it. */
int sc_farm_listening(const sc_farm_t *f);
/** Take a file out of deployDir because a version says so. */
void sc_farm_remove(sc_farm_t *f, sc_deploy_entry_t *e, const sc_version_t *v);

/** Whether one more complaint may be written now: a flood of them does not fill the log. */
int sc_farm_may_log(sc_farm_t *f);
static inline apr_uint64_t sc_farm_wall_ms(const sc_farm_t *f)
{
    return (apr_uint64_t)(sc_wall(f->env.clock) / 1000);
}

/* compare.c */
/** How often members are told the sum of the catalogue when it has not changed. */
#define SC_FARM_REPEAT apr_time_from_sec(10)
/** Tell a member the sum of the catalogue. @param hello 1: and ask for its own */
void sc_compare_say(sc_farm_t *f, apr_uint32_t peer, int hello);
void sc_compare_say_all(sc_farm_t *f, apr_time_t now);
/** Read a member's catalogue, from its beginning. */
void sc_compare_ask(sc_farm_t *f, sc_farm_peer_t *p);
/** Give up those who do not answer. */
void sc_compare_deadlines(sc_farm_t *f, apr_time_t now);

/* pace.c */
/** Bytes a second that rests let through while sessions are written: at most, however quick the
 *  machine is, and at least, however long a piece of work takes: so a deployment has an end. */
#define SC_PACE_MOST (16 * 1024 * 1024)
#define SC_PACE_LEAST (4 * 1024 * 1024)
/**
 * When the next piece of work may begin. While sessions are written the time between two pieces is
 * a multiple of what the first one took, within the bounds above.
 * @param begun when the piece began @param now when it was done @param bytes how much it was
 */
apr_time_t sc_pace_next(const sc_farm_t *f, apr_time_t begun, apr_time_t now, apr_uint64_t bytes);
/** The same of a piece that has just begun: when the next one may begin although this one has not
 *  ended, since whose turn it is may never end it. */
apr_time_t sc_pace_latest(const sc_farm_t *f, apr_time_t now, apr_uint64_t bytes);

/* watch.c */
/** @return 1: there was something to do, and there may be more */
int sc_watch_step(sc_farm_t *f, apr_time_t now);
/** Nothing is waiting to be taken. */
int sc_watch_idle(const sc_farm_t *f);
void sc_watch_close(sc_farm_t *f);
/** Another version than the one in watchDir is deployed: say so. */
void sc_watch_overruled(sc_farm_t *f, sc_deploy_entry_t *e);

/* fetch.c */
int sc_fetch_step(sc_farm_t *f, apr_time_t now);
/** When it has something to do next, of itself. */
apr_time_t sc_fetch_due(const sc_farm_t *f);
int sc_fetch_idle(const sc_farm_t *f);
void sc_fetch_close(sc_farm_t *f);
/** Nothing is wanted of that member any more. @return 1: something was */
int sc_fetch_left(sc_farm_t *f, apr_uint32_t peer);
/** What is wanted of an entry has changed. */
void sc_fetch_changed(sc_farm_t *f, const sc_deploy_entry_t *e);
void sc_fetch_block(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m);
void sc_fetch_no_block(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m);
/** @return APR_SUCCESS; APR_ENOSPC: that member asks for more than it may */
apr_status_t sc_serve_ask(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m);
int sc_serve_step(sc_farm_t *f, apr_time_t now);
void sc_serve_forget(sc_farm_t *f, const sc_deploy_entry_t *e);

/* command.c */
/** A batch has ended. */
void sc_command_run(sc_farm_t *f, apr_time_t now);
/** See whether it has ended, or must. */
void sc_command_step(sc_farm_t *f, apr_time_t now);

/* process.c */
/** Live as the deployer's process, on one end of a SEQPACKET pair; does not return. */
void sc_deploy_process(int fd, pid_t engine, const sc_config_deployer_t *config,
                       sc_log_level_t level) __attribute__((noreturn));

/** What goes over the pair: the first byte, then (but for c, l and r) the member as u32. */
#define SC_DEPLOY_JOINED 'J'    /**< to the process: name */
#define SC_DEPLOY_LEFT 'Q'      /**< to the process */
#define SC_DEPLOY_MESSAGE 'M'   /**< to the process: message */
#define SC_DEPLOY_SENT 'S'      /**< to the process: a block has left */
#define SC_DEPLOY_BUSY 'B'      /**< to the process: instead of a member 1: sessions are written */
#define SC_DEPLOY_SEND 'm'      /**< to the engine: message */
#define SC_DEPLOY_SEND_BULK 'b' /**< to the engine: message with a block */
#define SC_DEPLOY_COUNTS 'c'    /**< to the engine: sc_farm_counts_t */
#define SC_DEPLOY_LOG 'l'       /**< to the engine: level u8, status u32, text */
#define SC_DEPLOY_RESTART 'r'   /**< to the engine */
#define SC_DEPLOY_PACKET_MAX (SC_DEPLOY_BLOCK_MAX + 1024)

#endif
