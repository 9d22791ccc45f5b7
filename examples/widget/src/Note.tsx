interface NoteProps {
  text: string;
  label?: string;
  onAct?: () => void;
  onClose?: () => void;
  /** It is no news, so nobody is called for it. */
  old?: boolean;
}

/** A sentence on what went wrong, with what can be done about it. */
export function Note({ text, label, onAct, onClose, old = false }: NoteProps) {
  return (
    <div className="bargein-note" role={old ? undefined : "alert"}>
      <p>{text}</p>
      {label && (
        <button type="button" onClick={onAct}>
          {label}
        </button>
      )}
      {onClose && (
        <button type="button" className="bargein-quiet" onClick={onClose}>
          Dismiss
        </button>
      )}
    </div>
  );
}
