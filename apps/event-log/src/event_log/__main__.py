from event_log.cli import main

raise SystemExit(main())
